import { type Given, integer, OptionError, options } from '@posttrain/interfaces';
import { contentHash, RowOrder, type RowSource } from '@posttrain/training';

const myMethodOptions = options('myMethod', {
  /** How often in succession each row comes. Default 2. */
  times: integer({ default: 2, min: 1 }),
  /** Seed of the order of rows, which is another one in every epoch. Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * Rows that come several times in succession (arXiv 0000.00000). The place among them is its state.
 *
 * @throws OptionError
 */
export function myMethod<Row extends object>(rows: readonly Row[], given: MyMethodOptions = {}): RowSource<Row> {
  const { times, seed } = myMethodOptions.read(given);
  if (rows.length === 0) throw new OptionError('INVALID_OPTION', 'myMethod', 'rows', 'there are no rows.');
  const order = new RowOrder(rows.length, seed);
  let cursor = 0;
  return {
    name: 'my-method',
    settings: { ...myMethodOptions.settings(given), rows: contentHash(rows) },
    next: ({ count }) => Array.from({ length: count }, () => ({ row: rows[order.at(Math.floor(cursor++ / times))]! })),
    state: () => cursor,
    load(state) {
      cursor = state as number;
    },
  };
}
