import { type Given, integer, options } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import type { DataStep } from '../step.js';

const shuffleOptions = options('shuffle', {
  seed: integer({}),
  /** Rows held in memory. Default: all rows, which gives a uniform shuffle. */
  bufferSize: integer({ optional: true, min: 1, max: 2 ** 31 - 1 }),
});
/** Options of `shuffle`. */
export type ShuffleOptions = Given<typeof shuffleOptions>;

/**
 * Shuffles rows; the same seed and input give the same order.
 *
 * Without `bufferSize` it is a Fisher-Yates shuffle of everything. With it, a buffer of that many rows is kept full
 * and each row that comes out is drawn from the buffer, as Hugging Face `IterableDataset.shuffle` does: a row comes
 * out at most `bufferSize - 1` places early, and rows only mix over about that distance.
 */
export function shuffle(given: ShuffleOptions): DataStep<object> & { readonly passes: true } {
  const { seed, bufferSize } = shuffleOptions.read(given);
  return {
    name: 'shuffle',
    version: JSON.stringify([seed, bufferSize]),
    passes: true,
    async *apply(rows) {
      const random = createRandom(seed, 'shuffle');
      const buffer: object[] = [];
      for await (const row of rows) {
        if (bufferSize === undefined || buffer.length < bufferSize) {
          buffer.push(row);
          continue;
        }
        const chosen = random.integer(0, buffer.length - 1);
        yield buffer[chosen]!;
        buffer[chosen] = row;
      }
      yield* random.shuffled(buffer);
    },
  };
}
