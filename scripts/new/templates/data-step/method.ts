import type { DataStep, Row } from '@posttrain/data';
import { type Given, integer, options, text } from '@posttrain/interfaces';

const myMethodOptions = options('myMethod', {
  /** Column of the text. Default `text`. */
  column: text({ default: 'text' }),
  /** Rows whose text has fewer words are dropped. Default 1. */
  minWords: integer({ default: 1, min: 0 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * Keeps rows by the number of words of a column (arXiv 0000.00000): words are pieces between white space. A row without a text there
 * is dropped.
 *
 * @throws OptionError
 */
export function myMethod(given: MyMethodOptions = {}): DataStep<Row> & { readonly passes: true } {
  const { column, minWords } = myMethodOptions.read(given);
  return {
    name: 'my-method',
    version: `1 ${JSON.stringify(myMethodOptions.settings(given))}`,
    passes: true,
    async *apply(rows, context) {
      for await (const row of rows) {
        const value = (row as Readonly<Record<string, unknown>>)[column];
        if (typeof value !== 'string') context.drop(row, `no text in "${column}"`);
        else if (value.split(/\s+/).filter((word) => word !== '').length < minWords) context.drop(row, 'too few words');
        else yield row;
      }
    },
  };
}
