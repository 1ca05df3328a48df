import { lengthOf, splitWords, strip } from '@posttrain/interfaces/python';
import { pythonPattern } from '../python/pattern.js';
import { isAnyDigits, PUNCTUATION, stripOf, withoutPunctuation } from '../python/text.js';
import { isPronoun, PERSON_NAMES, STOP_WORDS } from './english-words.js';
import type { InstructionArguments, InstructionCheck } from './ifeval-checks.js';
import { NLTK_WORDS } from './word-tokens.js';

const MARKS = `${PUNCTUATION} `;
const CONJUNCTIONS = ['and', 'but', 'for', 'nor', 'or', 'so', 'yet'];
const PRIMES = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97];

const firstOf = (word: string): string => String.fromCodePoint(word.codePointAt(0)!);
/** Words without marks. */
const bareWords = (text: string): string[] => splitWords(withoutPunctuation(text));
/** A word as Python's `\b` bounds it. */
export const wholeWord = (word: string, flags = ''): RegExp =>
  pythonPattern(`${flags}\\b${word.replace(/[^\p{L}\p{N}_]/gu, '\\$&')}\\b`);
const NAMES = pythonPattern(`\\b(?:${PERSON_NAMES.join('|')})\\b`);
/** `text.count(part)`: places that do not overlap. */
const occurrences = (text: string, part: string): number => text.split(part).length - 1;

function trigrams(text: string): Set<string> {
  const characters = [...text];
  return new Set(characters.slice(2).map((one, i) => `${characters[i]}${characters[i + 1]}${one}`));
}

function overlaps(answer: string, given: InstructionArguments): boolean {
  const found = trigrams(answer);
  const reference = trigrams(given.text('reference_text'));
  const wanted = given.count('percentage');
  if (found.size === 0) return false;
  const overlap = ([...found].filter((one) => reference.has(one)).length / found.size) * 100;
  return wanted - 2 <= overlap && overlap <= wanted + 2;
}

/** Each word begins with the letter behind that of the last, and a with that behind z. */
function followsAlphabet(answer: string): boolean {
  const words = bareWords(answer);
  if (words.length === 0) return false;
  let letter = firstOf(words[0]!).toLowerCase();
  if (!/^[a-z]$/.test(letter)) return false;
  for (const word of words.slice(1)) {
    letter = letter === 'z' ? 'a' : String.fromCharCode(letter.charCodeAt(0) + 1);
    if (firstOf(word.toLowerCase()) !== letter) return false;
  }
  return true;
}

/** How many sentences end in each mark. */
const endings = (answer: string, given: InstructionArguments): number[] => {
  const sentences = given.sentences(answer);
  return ['.', '?', '!'].map((mark) => sentences.filter((one) => one.endsWith(mark)).length);
};

function alternatesSyllables(answer: string, given: InstructionArguments): boolean {
  const parities = splitWords(withoutPunctuation(answer).toLowerCase()).map((word) => given.syllables(word) % 2);
  return parities.every((one, i) => i === 0 || one !== parities[i - 1]);
}

/** The second word and the last but one; a mark at the end is no word. */
function hasAtBothEnds(answer: string, given: InstructionArguments): boolean {
  const keyword = strip(given.text('keyword')).toLowerCase();
  const words = given.tokens(answer).map((word) => word.toLowerCase());
  if (words.length < 2) return false;
  const isMarked = PUNCTUATION.includes(words.at(-1)!);
  if (isMarked && words.length < 3) return false;
  return words[1] === keyword && words.at(isMarked ? -3 : -2) === keyword;
}

function hasAtPlace(answer: string, given: InstructionArguments): boolean {
  const [keyword, n, m] = [strip(given.text('keyword')), given.place('n'), given.place('m')];
  const sentence = given.sentences(answer)[n - 1];
  if (sentence === undefined) return false;
  const words = given.tokens(sentence).filter((word) => /[\p{L}\p{N}]/u.test(word));
  return words[m - 1]?.toLowerCase() === keyword.toLowerCase();
}

/** The kinds of IFBench (arXiv 2507.02833) about counts, shares and words, as its authors' checkers decide. */
export const ifbenchWordChecks = {
  'count:word_count_range': (answer, given) => {
    const found = answer.match(NLTK_WORDS)?.length ?? 0;
    return given.count('min_words') <= found && found <= given.count('max_words');
  },
  'count:unique_word_count': (answer, given) =>
    new Set(splitWords(answer.toLowerCase()).map((word) => stripOf(word, MARKS))).size >= given.count('N'),
  'count:conjunctions': (answer, given) =>
    // Those that differ in their marks or their case count apart.
    new Set(splitWords(answer).filter((word) => CONJUNCTIONS.includes(stripOf(word, MARKS).toLowerCase()))).size >=
    given.count('small_n'),
  'count:person_names': (answer, given) => new Set(answer.match(NAMES)).size >= given.count('N'),
  'count:numbers': (answer, given) => (withoutPunctuation(answer).match(/\p{Nd}+/gu)?.length ?? 0) === given.count('N'),
  'count:punctuation': (answer) => {
    if (!/!\?|\?!|‽/.test(answer)) return false;
    const rest = answer.replace(answer.includes('?!') ? '?!' : '!?', '');
    return [...'.,!?;:'].every((mark) => rest.includes(mark));
  },
  'count:words_japanese': (answer, given) => {
    const every = given.place('N');
    return splitWords(answer)
      .filter((_, i) => (i + 1) % every === 0)
      .map((word) => stripOf(word, MARKS))
      .every((word) => word === '' || isAnyDigits(word) || /[\u3040-\u30ff\u4e00-\u9fff]/.test(word));
  },
  'count:pronouns': (answer, given) =>
    given.tokens(answer.replaceAll('/', ' ').toLowerCase()).filter(isPronoun).length >= given.count('N'),
  'count:keywords_multiple': (answer, given) =>
    [1, 2, 3, 5, 7].every(
      (times, i) => occurrences(answer.toLowerCase(), strip(given.text(`keyword${i + 1}`)).toLowerCase()) === times,
    ),
  'ratio:stop_words': (answer, given) => {
    const words = answer.match(NLTK_WORDS) ?? [];
    const stops = words.filter((word) => STOP_WORDS.has(word.toLowerCase())).length;
    return words.length > 0 && (stops / words.length) * 100 <= given.count('percentage');
  },
  'ratio:sentence_type': (answer, given) => {
    const [told, asked] = endings(answer, given);
    return told === 2 * asked!;
  },
  'ratio:sentence_balance': (answer, given) => new Set(endings(answer, given)).size === 1,
  'ratio:overlap': overlaps,
  'ratio:sentence_words': (answer, given) => {
    // Whether words differ is not looked at, as by the authors.
    const lengths = given.sentences(answer).map((one) => lengthOf(strip(one)));
    return lengths.length === 3 && new Set(lengths).size === 1;
  },
  'words:alphabet': followsAlphabet,
  'words:vowel': (answer) => {
    const text = strip(answer);
    return !text.includes('\n') && new Set(text.toLowerCase().match(/[aeiou]/g)).size <= 3;
  },
  'words:consonants': (answer) => splitWords(answer.toLowerCase()).every((word) => /[b-df-hj-np-tv-z]{2}/.test(word)),
  'words:palindrome': (answer) =>
    splitWords(withoutPunctuation(answer).toLowerCase()).filter((word) => {
      const characters = [...word];
      return characters.length >= 5 && word === characters.reverse().join('');
    }).length >= 10,
  'words:prime_lengths': (answer) => bareWords(answer).every((word) => PRIMES.includes(lengthOf(word))),
  'words:start_verb': (answer, given) => {
    const tokens = given.tokens(answer);
    return tokens.length > 0 && (given.firstTag(tokens)?.includes('VB') ?? false);
  },
  'words:repeats': (answer, given) => {
    const most = given.count('small_n');
    const counts = new Map<string, number>();
    for (const word of bareWords(answer.toLowerCase())) counts.set(word, (counts.get(word) ?? 0) + 1);
    return [...counts.values()].every((times) => times <= most);
  },
  'words:odd_even_syllables': alternatesSyllables,
  'words:last_first': (answer, given) => {
    const sentences = given.sentences(answer);
    return sentences.slice(1).every((sentence, i) => {
      const last = splitWords(stripOf(sentences[i]!, MARKS, 'end')).at(-1);
      const first = splitWords(stripOf(sentence, MARKS, 'start'))[0];
      return last !== undefined && first !== undefined && last.toLowerCase() === first.toLowerCase();
    });
  },
  'words:paragraph_last_first': (answer) =>
    answer.split('\n').every((paragraph) => {
      const words = splitWords(stripOf(strip(paragraph).toLowerCase(), MARKS));
      return words[0] === words.at(-1);
    }),
  'words:no_consecutive': (answer) => {
    const letters = bareWords(answer.toLowerCase()).map(firstOf);
    return letters.every((letter, i) => i === 0 || letter !== letters[i - 1]);
  },
  'words:keywords_specific_position': hasAtPlace,
  'words:words_position': hasAtBothEnds,
} as const satisfies Readonly<Record<string, InstructionCheck>>;
