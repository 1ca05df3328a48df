import { type Given, integer, options } from '@posttrain/interfaces';
import { lengthOf } from '@posttrain/interfaces/python';
import type { Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { columnOption, textFilter } from './text-filter.js';

const c4ParagraphsOptions = options('c4Paragraphs', {
  /** Column of the text. Default `"text"`. */
  text: columnOption,
  /** How many long lines a text must have. Default 3. */
  minParagraphs: integer({ default: 3, min: 1 }),
  /** Characters of a long line. Default 200. */
  minParagraphLength: integer({ default: 200, min: 1 }),
});
/** Options of `c4Paragraphs`. */
export type C4ParagraphsOptions = Given<typeof c4ParagraphsOptions>;

/**
 * The rule of mC4 (arXiv 2010.11934 §3.1), as datatrove has it: a text has three lines of 200 characters or more, or is dropped.
 *
 * @throws OptionError; RowError where the text is none
 */
export function c4Paragraphs<R extends object = Row>(
  given: C4ParagraphsOptions = {},
): DataStep<R> & { readonly passes: true } {
  const { text: column, minParagraphs, minParagraphLength } = c4ParagraphsOptions.read(given);
  const version = JSON.stringify(c4ParagraphsOptions.settings(given));
  return textFilter('c4 paragraphs', version, column, (text) => {
    const long = text.split('\n').filter((line) => lengthOf(line) >= minParagraphLength).length;
    return long >= minParagraphs ? true : { drop: `< ${minParagraphs} paragraphs` };
  });
}
