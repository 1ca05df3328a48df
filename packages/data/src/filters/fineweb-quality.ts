import { boolean, type Given, number, options } from '@posttrain/interfaces';
import { lengthOf, strip } from '@posttrain/interfaces/python';
import type { Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { englishWords } from '../text/english-words.js';
import { endsSentence } from '../text/punctuation.js';
import { countDuplicates } from './duplicates.js';
import { columnOption, textFilter, wordsOption } from './text-filter.js';

const finewebQualityOptions = options('finewebQuality', {
  /** Column of the text. Default `"text"`. */
  text: columnOption,
  /** Least share of lines that end a sentence. Default 0.12. */
  linePunctThr: number({ default: 0.12 }),
  /** Keeps texts none of whose lines ends a sentence. Default `false`. */
  linePunctExcludeZero: boolean({ default: false }),
  /** Greatest share of short lines. Default 0.67. */
  shortLineThr: number({ default: 0.67 }),
  /** Characters of the longest short line. Default 30. */
  shortLineLength: number({ default: 30 }),
  /** Greatest share of characters in lines that were there before. Default 0.01. */
  charDuplicatesRatio: number({ default: 0.01 }),
  /** Most line feeds to a word. Default 0.3. */
  newLineRatio: number({ default: 0.3 }),
  /** Words of a text. Default: `englishWords`. */
  words: wordsOption,
});
/** Options of `finewebQuality`. */
export type FinewebQualityOptions = Given<typeof finewebQualityOptions>;

/**
 * FineWeb's own rules (arXiv 2406.17557 §3.6), with datatrove's options, defaults, order and reasons: lines that end a sentence, short lines,
 * characters of repeated lines, line feeds to words (lists).
 *
 * @throws OptionError; RowError where the text is none
 */
export function finewebQuality<R extends object = Row>(
  given: FinewebQualityOptions = {},
): DataStep<R> & { readonly passes: true } {
  const settings = finewebQualityOptions.read(given);
  const wordsOf = settings.words ?? englishWords;
  const version = JSON.stringify(finewebQualityOptions.settings(given));
  return textFilter('fineweb quality', version, settings.text, (text) => {
    const lines = text.split('\n').filter((line) => strip(line) !== '');
    if (lines.length === 0) return { drop: 'empty' };
    const ended = lines.filter(endsSentence).length / lines.length;
    if (ended < settings.linePunctThr && !(ended === 0 && settings.linePunctExcludeZero))
      return { drop: 'line_punct_ratio' };
    const short = lines.filter((line) => lengthOf(line) <= settings.shortLineLength).length / lines.length;
    if (short > settings.shortLineThr) return { drop: 'short_line_ratio' };
    const lineFeeds = text.length - text.replaceAll('\n', '').length;
    if (countDuplicates(lines).characters / (lengthOf(text) - lineFeeds) > settings.charDuplicatesRatio) {
      return { drop: 'char_dup_ratio' };
    }
    return lineFeeds / wordsOf(text).length > settings.newLineRatio ? { drop: 'list_ratio' } : true;
  });
}
