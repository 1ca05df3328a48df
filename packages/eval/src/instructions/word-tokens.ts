import { PYTHON_SPACE, splitWords } from '@posttrain/interfaces/python';

/** NLTK's `\w`, to which marks belong, unlike that of Python's own `re`. */
const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}';
const SPACE = `[${PYTHON_SPACE}]`;
/** The edge of a word of Python's own `re`. */
const EDGE = '(?:(?<=[\\p{L}\\p{N}_])(?![\\p{L}\\p{N}_])|(?<![\\p{L}\\p{N}_])(?=[\\p{L}\\p{N}_]))';
const rule = (pattern: string, flags = 'gu'): RegExp => new RegExp(pattern, flags);

/** What is written anew, in this order; each rule sees what those before it have made. */
const RULES: readonly (readonly [RegExp, string])[] = [
  // Quotes that open: doubled ones become two backticks.
  [/[«“‘„]|`+/gu, ' $& '],
  [/^"/u, '``'],
  [/``/gu, ' `` '],
  [/([ ([{<])(?:"|'{2})/gu, '$1 `` '],
  [rule(`(?<![${WORD}])'(?!(?:re|ve|ll|m|t|s|d|n)(?![${WORD}]))(?=[${WORD}])`, 'giu'), "' "],
  // The full stop that ends the sentence, and marks.
  [rule(`([^.])\\.([\\])}>"'»”’ ]*)${SPACE}*$`), '$1 . $2 '],
  [/([:,])(\P{Nd})/gu, ' $1 $2'],
  [/[:,](?=\n?$)/gu, ' $& '],
  [/\.{2,}|[;@#$%&]|[\u2012-\u2015]/gu, ' $& '],
  [rule(`([^.])\\.([\\])}>"']*)${SPACE}*$`), '$1 . $2 '],
  [/[?!]/gu, ' $& '],
  [/([^'])' /gu, "$1 ' "],
  [/[*[\](){}<>]|--/gu, ' $& '],
  [/^[\s\S]*$/u, ' $& '],
  // Quotes that close, and what stands for another word behind an apostrophe.
  [/[»”’]/gu, ' $& '],
  [/''|"/gu, " '' "],
  [rule(`${SPACE}+`), ' '],
  [/([^' ])('[sSmMdD]|') /gu, '$1 $2 '],
  [/([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) /gu, '$1 $2 '],
  // Words that are two.
  [
    rule(
      `${EDGE}(can(?=not)|d(?='ye)|gim(?=me)|gon(?=na)|got(?=ta)|lem(?=me)|more(?='n))(not|'ye|me|na|ta|'n)${EDGE}`,
      'giu',
    ),
    ' $1 $2 ',
  ],
  [rule(`${EDGE}(wan)(na)(?= )`, 'giu'), ' $1 $2 '],
  [rule(` ('t)(is|was)${EDGE}`, 'giu'), ' $1 $2 '],
];

/**
 * Tokens of one sentence as NLTK's `word_tokenize` makes them (`NLTKWordTokenizer`, after the Penn Treebank's convention): marks and clitics stand
 * alone, double quotes are written as two backticks or two apostrophes, a full stop is set apart at the end only.
 */
export function wordTokens(sentence: string): string[] {
  let text = sentence;
  for (const [pattern, replacement] of RULES) text = text.replace(pattern, replacement);
  return splitWords(text);
}

/** `text.isupper()`. */
export const isUpper = (text: string): boolean => /\p{Uppercase}/u.test(text) && !/[\p{Lowercase}\p{Lt}]/u.test(text);
/** `text.islower()`. */
export const isLower = (text: string): boolean => /\p{Lowercase}/u.test(text) && !/[\p{Uppercase}\p{Lt}]/u.test(text);

/**
 * How many tokens are in capitals. Where sentences end makes no difference to it: only full stops are set apart there, which are no letters.
 */
export const countCapitalWords = (text: string): number => wordTokens(text).filter(isUpper).length;

/** NLTK's `\w+`, of which it counts words. */
export const NLTK_WORDS: RegExp = new RegExp(`[${WORD}]+`, 'gu');
