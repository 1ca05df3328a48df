import { splitWords } from '@posttrain/interfaces/python';

/** What NLTK's word tokenizer sets apart wherever it stands. */
const APART = /[;@#$%&?!*()[\]{}<>"“”„‘’«»`\u2012-\u2015]|--|\.{2,}|[,:](?!\p{Nd})|''/gu;
/** An apostrophe that opens a word, unless it is that of a clitic. */
const OPENING = /(?<![\p{L}\p{N}_])'(?!(?:re|ve|ll|m|t|s|d|n)(?![\p{L}\p{N}_]))(?=[\p{L}\p{N}_])/giu;
/** Clitics at the end of a word, and words that are two. */
const CLITIC = /([^' ])('s|'m|'d|'ll|'re|'ve|n't|')$/i;
const TWO = [
  /\b(can)(not)\b/i,
  /\b(d)('ye)\b/i,
  /\b(gim)(me)\b/i,
  /\b(gon)(na)\b/i,
  /\b(got)(ta)\b/i,
  /\b(lem)(me)\b/i,
];
const MORE = [/\b(more)('n)\b/i, /\b(wan)(na)$/i, /^('t)(is|was)\b/i];

/** `text.isupper()`. */
export const isUpper = (text: string): boolean => /\p{Uppercase}/u.test(text) && !/[\p{Lowercase}\p{Lt}]/u.test(text);
/** `text.islower()`. */
export const isLower = (text: string): boolean => /\p{Lowercase}/u.test(text) && !/[\p{Uppercase}\p{Lt}]/u.test(text);

/**
 * How many tokens of NLTK's `word_tokenize` are in capitals. Where sentences end makes no difference to it: only full stops are set apart
 * there, which are no letters.
 */
export function countCapitalWords(text: string): number {
  const spaced = text.replace(OPENING, "' ").replace(APART, ' $& ');
  const tokens = splitWords(spaced).flatMap((word) => {
    let parts = [word];
    for (const pattern of [CLITIC, ...TWO, ...MORE])
      parts = parts.flatMap((part) => splitWords(part.replace(pattern, '$1 $2')));
    return parts;
  });
  return tokens.filter(isUpper).length;
}
