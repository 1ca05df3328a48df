import { boolean, type Given, listOf, number, options, text } from '@posttrain/interfaces';
import type { Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { columnOf, columnOption } from './text-filter.js';

const badWordsOptions = options('badWords', {
  /** Column of the text. Default `"text"`. */
  text: columnOption,
  /** The words and phrases, in lower case. No list comes with this package. */
  words: listOf(text({}), {}),
  /** Whether they are words of a script that separates words: then they count between other characters only. Default `true`. */
  separated: boolean({ default: true }),
  /** Share of the texts with such words that is kept all the same. Default 0. */
  keepFraction: number({ default: 0, min: 0, max: 1 }),
});
/** Options of `badWords`. */
export type BadWordsOptions = Given<typeof badWordsOptions>;

/**
 * C4's filter of bad words (arXiv 1910.10683 §2.2) over a list of the user's, as datatrove has it: a text in which one of them stands, in lower case and
 * between characters that are no letters, digits or underscores, is dropped. Which of them `keepFraction` keeps follows from the pipeline's
 * seed and the row's id.
 *
 * @throws OptionError; RowError where the text is none
 */
export function badWords<R extends object = Row>(given: BadWordsOptions): DataStep<R> & { readonly passes: true } {
  const { text: column, words, separated, keepFraction } = badWordsOptions.read(given);
  const any = words.map((word) => word.replace(/[\\^$.*+?()[\]{}|/]/gu, '\\$&')).join('|');
  const pattern = new RegExp(separated ? `(?:[^\\p{L}\\p{N}_]|^)(?:${any})(?:[^\\p{L}\\p{N}_]|$)` : any, 'u');
  return {
    name: 'bad words',
    version: JSON.stringify(badWordsOptions.settings(given)),
    passes: true,
    async *apply(rows, context) {
      let rowNumber = 0;
      for await (const row of rows) {
        const found = words.length > 0 && pattern.test(columnOf(row, column, ++rowNumber).toLowerCase());
        if (!found || (keepFraction > 0 && context.random(context.keyOf(row).id).float() < keepFraction)) yield row;
        else context.drop(row, 'document_removed_with_badwords');
      }
    },
  };
}
