import { assertInteger } from '../errors.js';
import type { DataStep } from '../step.js';

/** The first `count` rows. It reads no row more than that and then closes its source. */
export function take(count: number): DataStep<object> & { readonly passes: true } {
  assertInteger('take', 'count', count, 0, Number.MAX_SAFE_INTEGER);
  return {
    name: `take ${count}`,
    version: '1',
    passes: true,
    async *apply(rows) {
      if (count === 0) return;
      let taken = 0;
      for await (const row of rows) {
        yield row;
        if (++taken === count) return;
      }
    },
  };
}
