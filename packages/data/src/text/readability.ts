import { englishSentences, englishWords } from './english-words.js';

/** What the formulas of readability count. */
export interface ReadabilityCounts {
  readonly sentences: number;
  /** Words with a letter or a digit. */
  readonly words: number;
  readonly syllables: number;
  /** Letters and digits of words. */
  readonly letters: number;
  /** Words of three syllables or more. */
  readonly polysyllables: number;
  /** Words of more than six letters. */
  readonly longWords: number;
}

/** How hard English text is to read. A text without words has NaN throughout. */
export interface Readability {
  /** 206.835 - 1.015 words/sentence - 84.6 syllables/word (Flesch 1948): the greater the easier. */
  readonly fleschReadingEase: number;
  /** 0.39 words/sentence + 11.8 syllables/word - 15.59 (Kincaid 1975): a school grade, as those that follow. */
  readonly fleschKincaidGrade: number;
  /** 0.4 (words/sentence + 100 polysyllables/word) (Gunning 1952). */
  readonly gunningFog: number;
  /** 1.043 √(30 polysyllables/sentence) + 3.1291 (McLaughlin 1969). */
  readonly smog: number;
  /** 5.88 letters/word - 29.6 sentences/word - 15.8 (Coleman and Liau 1975). */
  readonly colemanLiau: number;
  /** 4.71 letters/word + 0.5 words/sentence - 21.43 (Senter and Smith 1967). */
  readonly automatedReadability: number;
  /** words/sentence + 100 long words/word (Björnsson 1968). */
  readonly lix: number;
}

/** The formulas, of counts. */
export function readabilityOf(counts: ReadabilityCounts): Readability {
  const { sentences, words, syllables, letters, polysyllables, longWords } = counts;
  const [perSentence, perWord] = [words / sentences, syllables / words];
  return {
    fleschReadingEase: 206.835 - 1.015 * perSentence - 84.6 * perWord,
    fleschKincaidGrade: 0.39 * perSentence + 11.8 * perWord - 15.59,
    gunningFog: 0.4 * (perSentence + (100 * polysyllables) / words),
    smog: 1.043 * Math.sqrt((30 * polysyllables) / sentences) + 3.1291,
    colemanLiau: (5.88 * letters) / words - (29.6 * sentences) / words - 15.8,
    automatedReadability: (4.71 * letters) / words + 0.5 * perSentence - 21.43,
    lix: perSentence + (100 * longWords) / words,
  };
}

/**
 * Readability of an English text. Words and sentences are those of `englishWords` and `englishSentences`; syllables are counted by `syllablesOf`, which knows
 * spelling and no dictionary, so that scores differ by some tenths from those of a program that looks words up.
 */
export function readability(text: string, syllables: (word: string) => number = syllablesOf): Readability {
  return readabilityOf(readabilityCounts(text, syllables));
}

/** What a text has of what the formulas count. */
export function readabilityCounts(text: string, syllables: (word: string) => number = syllablesOf): ReadabilityCounts {
  const words = englishWords(text)
    .map((word) => word.replaceAll(/[^\p{L}\p{N}]/gu, ''))
    .filter((word) => word !== '');
  const counts = words.map((word) => syllables(word));
  const lengths = words.map((word) => [...word].length);
  const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
  return {
    sentences: englishSentences(text).filter((sentence) => /[\p{L}\p{N}]/u.test(sentence)).length,
    words: words.length,
    syllables: sum(counts),
    letters: sum(lengths),
    polysyllables: counts.filter((count) => count >= 3).length,
    longWords: lengths.filter((length) => length > 6).length,
  };
}

/** Syllables of an English word by its spelling: groups of vowels, without a silent `e`, `es` or `ed` at the end; at least one. */
export function syllablesOf(word: string): number {
  const plain = word
    .toLowerCase()
    .normalize('NFD')
    .replaceAll(/[^a-z]/g, '');
  const spoken = plain
    .replace(/(?<=[^aeiouy]|[aeiou][gs])(?<!(?:^|[^aeiouy])[^aeiouy]?l|[td]|[sxz]|[cg]|ch|sh)(?:es|ed)$/, '')
    .replace(/(?<=[td])es$|(?<=[^aeiouytd])ed$/, '')
    .replace(/(?<=[aeiouy].*[^aeiouyl]|[aeiouy].*[aeiouy]l)e$/, '');
  const groups = spoken.match(/[aeiouy]+/g)?.length ?? 0;
  // Vowels side by side that are two syllables.
  const apart = spoken.match(/ia(?!n?$)|i[ou](?!s|n)|eo(?!us)|ua(?!r)|[aeo]ing$|ism$/g)?.length ?? 0;
  return Math.max(1, groups + apart);
}
