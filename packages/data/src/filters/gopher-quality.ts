import { type Given, listOf, options, text } from '@posttrain/interfaces';
import { lengthOf, splitLines, stripEnd, stripStart } from '@posttrain/interfaces/python';
import type { Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { englishWords } from '../text/english-words.js';
import { isNoSymbol } from '../text/punctuation.js';
import { columnOption, textFilter, threshold, wordsOption } from './text-filter.js';

const gopherQualityOptions = options('gopherQuality', {
  /** Column of the text. Default `"text"`. */
  text: columnOption,
  /** Fewest words that are no punctuation. Default 50. */
  minDocWords: threshold(50),
  /** Most of them. Default 100,000. */
  maxDocWords: threshold(100_000),
  /** Least mean of their characters. Default 3. */
  minAvgWordLength: threshold(3),
  /** Greatest mean of their characters. Default 10. */
  maxAvgWordLength: threshold(10),
  /** Most number signs, and most ellipses, to a word. Default 0.1. */
  maxSymbolWordRatio: threshold(0.1),
  /** Greatest share of lines that begin with a bullet or a dash. Default 0.9. */
  maxBulletLinesRatio: threshold(0.9),
  /** Greatest share of lines that end with an ellipsis. Default 0.3. */
  maxEllipsisLinesRatio: threshold(0.3),
  /** Least share of words with a letter (datatrove's name for it). Default 0.8. */
  maxNonAlphaWordsRatio: threshold(0.8),
  /** Fewest different stop words. Default 2. */
  minStopWords: threshold(2),
  /** Default `the be to of and that have with`. */
  stopWords: listOf(text({}), { default: ['the', 'be', 'to', 'of', 'and', 'that', 'have', 'with'] }),
  /** Words of a text. Default: `englishWords`. */
  words: wordsOption,
});
/** Options of `gopherQuality`. */
export type GopherQualityOptions = Given<typeof gopherQualityOptions>;

/**
 * Gopher's rules for documents of quality (arXiv 2112.11446 §A.1.1), with datatrove's options, defaults, order and reasons: number and length of words, number
 * signs and ellipses to a word, lines that begin with a bullet or end with an ellipsis, words with a letter, stop words. A check whose
 * option is `null` is left out; a text without words is `empty`.
 *
 * @throws OptionError; RowError where the text is none
 */
export function gopherQuality<R extends object = Row>(
  given: GopherQualityOptions = {},
): DataStep<R> & { readonly passes: true } {
  const settings = gopherQualityOptions.read(given);
  const wordsOf = settings.words ?? englishWords;
  const stopWords = new Set(settings.stopWords);
  const version = JSON.stringify(gopherQualityOptions.settings(given));
  return textFilter('gopher quality', version, settings.text, (text) => {
    const words = wordsOf(text);
    const reason = failedRule(text, words, stopWords, settings);
    return reason === undefined ? true : { drop: reason };
  });
}

interface Rules {
  readonly minDocWords: number | null;
  readonly maxDocWords: number | null;
  readonly minAvgWordLength: number | null;
  readonly maxAvgWordLength: number | null;
  readonly maxSymbolWordRatio: number | null;
  readonly maxBulletLinesRatio: number | null;
  readonly maxEllipsisLinesRatio: number | null;
  readonly maxNonAlphaWordsRatio: number | null;
  readonly minStopWords: number | null;
}

/** The first rule that the text breaks. */
function failedRule(
  text: string,
  words: readonly string[],
  stopWords: ReadonlySet<string>,
  rules: Rules,
): string | undefined {
  let [plain, characters, withLetter] = [0, 0, 0];
  const stops = new Set<string>();
  for (const word of words) {
    if (isNoSymbol(word)) {
      plain++;
      characters += lengthOf(word);
    }
    if (/\p{L}/u.test(word)) withLetter++;
    if (stopWords.has(word)) stops.add(word);
  }
  if (isBelow(plain, rules.minDocWords)) return 'gopher_short_doc';
  if (isAbove(plain, rules.maxDocWords)) return 'gopher_long_doc';
  if (words.length === 0) return 'empty';
  if (isBelow(characters / plain, rules.minAvgWordLength)) return 'gopher_below_avg_threshold';
  if (isAbove(characters / plain, rules.maxAvgWordLength)) return 'gopher_above_avg_threshold';
  if (isAbove(count(text, /#/g) / words.length, rules.maxSymbolWordRatio)) return 'gopher_too_many_hashes';
  if (isAbove(count(text, /\.\.\.|…/g) / words.length, rules.maxSymbolWordRatio)) return 'gopher_too_many_ellipsis';
  const lines = splitLines(text);
  const share = (test: (line: string) => boolean) => lines.filter(test).length / lines.length;
  if (
    isAbove(
      share((line) => /^[•-]/u.test(stripStart(line))),
      rules.maxBulletLinesRatio,
    )
  )
    return 'gopher_too_many_bullets';
  if (
    isAbove(
      share((line) => /(?:\.\.\.|…)$/u.test(stripEnd(line))),
      rules.maxEllipsisLinesRatio,
    )
  ) {
    return 'gopher_too_many_end_ellipsis';
  }
  if (isBelow(withLetter / words.length, rules.maxNonAlphaWordsRatio)) return 'gopher_below_alpha_threshold';
  if (isBelow(stops.size, rules.minStopWords)) return 'gopher_enough_stop_words';
  return undefined;
}

const count = (text: string, pattern: RegExp) => text.match(pattern)?.length ?? 0;
const isBelow = (value: number, limit: number | null) => limit !== null && value < limit;
const isAbove = (value: number, limit: number | null) => limit !== null && value > limit;
