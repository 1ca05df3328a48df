import { type Given, integer, options } from '@posttrain/interfaces';
import type { DecodeHook } from '@posttrain/lm';

const myMethodOptions = options('myMethod', {
  /** Most times that a token may follow itself. Default 2. */
  mostInARow: integer({ default: 2, min: 1 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * No token more than `mostInARow` times in a row (arXiv 0000.00000): it is then forbidden at the next position. One for each row.
 *
 * @throws OptionError
 */
export function myMethod(given: MyMethodOptions = {}): DecodeHook {
  const { mostInARow } = myMethodOptions.read(given);
  return {
    next({ generated }) {
      const last = generated.slice(-mostInARow);
      const isRun = last.length === mostInARow && last.every((token) => token === last[0]);
      return isRun ? { forbid: [last[0]!] } : undefined;
    },
  };
}
