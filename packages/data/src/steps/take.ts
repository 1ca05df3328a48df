import { assertInteger } from '../errors.js';
import type { DataStep } from '../pipeline.js';

/** The first `count` rows. It reads no row more than that and then closes its source. */
export function take(count: number): DataStep<object> {
  assertInteger('take', 'count', count, 0, Number.MAX_SAFE_INTEGER);
  return {
    name: `take ${count}`,
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
