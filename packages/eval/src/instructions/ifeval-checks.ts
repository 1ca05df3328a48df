import { lengthOf, splitWords, strip } from '@posttrain/interfaces/python';
import { EvaluationError } from '../errors.js';
import { pythonPattern } from '../python/pattern.js';
import { stripOf } from '../python/text.js';
import { countCapitalWords, isLower, isUpper, NLTK_WORDS, wordTokens } from './word-tokens.js';

/** What some checkers of IFEval and IFBench ask models and dictionaries for: give what stands in for them. */
export interface InstructionTools {
  /** ISO 639-1 code of a text's language, as `langdetect` says it; `null`: it cannot tell. */
  readonly language?: ((text: string) => string | null) | undefined;
  /** Sentences of a text, as NLTK's `punkt` splits it. */
  readonly sentences?: ((text: string) => readonly string[]) | undefined;
  /** Tags of tokens (Penn Treebank), as NLTK's averaged perceptron gives them. */
  readonly tags?: ((tokens: readonly string[]) => readonly string[]) | undefined;
  /** Syllables of a word in small letters, as `syllapy` counts them. */
  readonly syllables?: ((word: string) => number) | undefined;
}

/** Arguments of an instruction, as a row has them, read with errors that name them. */
export class InstructionArguments {
  constructor(
    readonly id: string,
    readonly given: Readonly<Record<string, unknown>>,
    readonly tools: InstructionTools,
    readonly prompt: string,
  ) {}

  text(name: string): string {
    const value = this.given[name];
    if (typeof value === 'string' && value !== '') return value;
    throw this.wrong(`its argument ${name} must be a text`);
  }

  count(name: string): number {
    const value = this.given[name];
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value;
    throw this.wrong(`its argument ${name} must be a whole number of at least 0`);
  }

  /** A place, of which the first is 1. */
  place(name: string): number {
    if (this.count(name) > 0) return this.count(name);
    throw this.wrong(`its argument ${name} must be a whole number of at least 1`);
  }

  list(name: string): readonly string[] {
    const value = this.given[name];
    if (Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'string')) return value;
    throw this.wrong(`its argument ${name} must be a list of texts`);
  }

  /** `less than`, or `at least`, a number. */
  compare(found: number, relation: string, wanted: string): boolean {
    const value = this.given[relation];
    if (value === 'less than') return found < this.count(wanted);
    if (value === 'at least') return found >= this.count(wanted);
    throw this.wrong(`its argument ${relation} must be "less than" or "at least"`);
  }

  /** Whether a text is in a language; a text whose language cannot be told is. */
  isIn(text: string, code: string): boolean {
    if (!this.tools.language) throw this.wrong('it needs a detector of languages: the option "language"');
    const found = this.tools.language(text);
    return found === null || found === code;
  }

  sentences(text: string): readonly string[] {
    if (this.tools.sentences) return this.tools.sentences(text);
    throw this.wrong('it needs a splitter of sentences: the option "sentences"');
  }

  /** Tokens of all sentences, as NLTK's `word_tokenize` has them. */
  tokens(text: string): readonly string[] {
    return this.sentences(text).flatMap(wordTokens);
  }

  /** The tag of the first of some tokens. */
  firstTag(tokens: readonly string[]): string | undefined {
    if (this.tools.tags) return this.tools.tags(tokens)[0];
    throw this.wrong('it needs a tagger of parts of speech: the option "tags"');
  }

  syllables(word: string): number {
    if (this.tools.syllables) return this.tools.syllables(word);
    throw this.wrong('it needs a counter of syllables: the option "syllables"');
  }

  wrong(problem: string): EvaluationError {
    return new EvaluationError('BAD_ROW', `The instruction ${this.id}: ${problem}.`);
  }
}

/** Whether an answer follows an instruction. */
export type InstructionCheck = (answer: string, given: InstructionArguments) => boolean;

const count = (answer: string, pattern: string): number => answer.match(pythonPattern(pattern))?.length ?? 0;
const BULLETS = ['(?m)^\\s*\\*[^\\*].*$', '(?m)^\\s*-.*$'];
const CHOICES = ['My answer is yes.', 'My answer is no.', 'My answer is maybe.'];

/** Pieces that are not empty; `null` where one is that is neither the first nor the last. */
function pieces(parts: readonly string[]): readonly string[] | null {
  return parts.slice(1, -1).some((part) => strip(part) === '') ? null : parts.filter((part) => strip(part) !== '');
}

function isJson(answer: string): boolean {
  let text = strip(answer);
  for (const prefix of ['```json', '```Json', '```JSON', '```'])
    if (text.startsWith(prefix)) text = text.slice(prefix.length);
  if (text.endsWith('```')) text = text.slice(0, -3);
  // Python's numbers have NaN, Infinity and -Infinity. A string that does not end is passed over whole: looking again from each quote in it would take
  // quadratic time, and the text is no JSON anyway.
  const plain = text.replace(/"(?:[^"\\]|\\.)*"?|\bNaN\b|-?\bInfinity\b/gs, (one) =>
    one.startsWith('"') ? one : 'null',
  );
  try {
    JSON.parse(strip(plain));
    return true;
  } catch {
    return false;
  }
}

function firstWord(answer: string, given: InstructionArguments): boolean {
  const paragraphs = answer.split('\n\n');
  const there = paragraphs.filter((paragraph) => strip(paragraph) !== '').length;
  const nth = given.count('nth_paragraph');
  if (nth < 1 || nth > there) return false;
  const paragraph = strip(paragraphs[nth - 1]!);
  if (paragraph === '') return false;
  const word = splitWords(paragraph)[0]!.replace(/^'+/, '').replace(/^"+/, '');
  const bare = /^[^.,?!'"]*/.exec(word)![0].toLowerCase();
  return there === given.count('num_paragraphs') && bare === given.text('first_word').toLowerCase();
}

/** The 25 kinds of IFEval (arXiv 2311.07911) by their ids, as its authors' checkers decide; patterns are Python's. */
export const ifevalChecks = {
  'keywords:existence': (answer, given) =>
    given.list('keywords').every((keyword) => pythonPattern(`(?i)${strip(keyword)}`).test(answer)),
  'keywords:frequency': (answer, given) =>
    given.compare(count(answer, `(?i)${strip(given.text('keyword'))}`), 'relation', 'frequency'),
  'keywords:forbidden_words': (answer, given) =>
    !given.list('forbidden_words').some((word) => pythonPattern(`(?i)\\b${word}\\b`).test(answer)),
  'keywords:letter_frequency': (answer, given) => {
    const letter = strip(given.text('letter')).toLowerCase();
    // Two rows of IFEval's own files ask for "#" and "!", in whose place the authors' checker draws a letter at random; here it is what the row asks for.
    if ([...letter].length !== 1) throw given.wrong('its argument letter must be one character');
    return given.compare(
      [...answer.toLowerCase()].filter((one) => one === letter).length,
      'let_relation',
      'let_frequency',
    );
  },
  'language:response_language': (answer, given) => given.isIn(answer, given.text('language')),
  'length_constraints:number_sentences': (answer, given) => {
    return given.compare(given.sentences(answer).length, 'relation', 'num_sentences');
  },
  'length_constraints:number_paragraphs': (answer, given) =>
    pieces(answer.split(pythonPattern('\\s?\\*\\*\\*\\s?')))?.length === given.count('num_paragraphs'),
  'length_constraints:number_words': (answer, given) =>
    given.compare(answer.match(NLTK_WORDS)?.length ?? 0, 'relation', 'num_words'),
  'length_constraints:nth_paragraph_first_word': firstWord,
  'detectable_content:number_placeholders': (answer, given) =>
    count(answer, '\\[.*?\\]') >= given.count('num_placeholders'),
  'detectable_content:postscript': (answer, given) => {
    const marker = strip(given.text('postscript_marker'));
    const known: Readonly<Record<string, string>> = { 'P.P.S': 'p\\.\\s?p\\.\\s?s', 'P.S.': 'p\\.\\s?s\\.' };
    return pythonPattern(known[marker] ?? marker.toLowerCase()).test(answer.toLowerCase());
  },
  'detectable_format:number_bullet_lists': (answer, given) =>
    BULLETS.reduce((sum, pattern) => sum + count(answer, pattern), 0) === given.count('num_bullets'),
  'detectable_format:constrained_response': (answer) => CHOICES.some((choice) => strip(answer).includes(choice)),
  'detectable_format:number_highlighted_sections': (answer, given) => {
    const single = answer.match(/\*[^\n*]*\*/g) ?? [];
    const double = answer.match(/\*\*[^\n*]*\*\*/g) ?? [];
    const full = [...single.map((one) => stripOf(one, '*')), ...double.map((one) => one.slice(2, -2))];
    return full.filter((one) => strip(one) !== '').length >= given.count('num_highlights');
  },
  'detectable_format:multiple_sections': (answer, given) => {
    const splitter = strip(given.text('section_spliter'));
    return count(answer, `\\s?${splitter}\\s?\\d+\\s?`) >= given.count('num_sections');
  },
  'detectable_format:json_format': isJson,
  'detectable_format:title': (answer) =>
    (answer.match(/<<[^\n]+>>/g) ?? []).some((title) => strip(title.replace(/^<+/, '').replace(/>+$/, '')) !== ''),
  'combination:two_responses': (answer) => {
    const responses = pieces(answer.split('******'));
    return responses?.length === 2 && strip(responses[0]!) !== strip(responses[1]!);
  },
  'combination:repeat_prompt': (answer, given) =>
    strip(answer)
      .toLowerCase()
      .startsWith(strip(given.text('prompt_to_repeat')).toLowerCase()),
  'startend:end_checker': (answer, given) =>
    stripOf(strip(answer), '"')
      .toLowerCase()
      .endsWith(strip(given.text('end_phrase')).toLowerCase()),
  'startend:quotation': (answer) => lengthOf(strip(answer)) > 1 && /^".*"$/s.test(strip(answer)),
  'change_case:capital_word_frequency': (answer, given) =>
    given.compare(countCapitalWords(answer), 'capital_relation', 'capital_frequency'),
  'change_case:english_capital': (answer, given) => isUpper(answer) && given.isIn(answer, 'en'),
  'change_case:english_lowercase': (answer, given) => isLower(answer) && given.isIn(answer, 'en'),
  'punctuation:no_comma': (answer) => !answer.includes(','),
} as const satisfies Readonly<Record<string, InstructionCheck>>;

/** The id of an instruction of IFEval. */
export type IfevalInstruction = keyof typeof ifevalChecks;
