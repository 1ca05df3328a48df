import { assertArgument } from '../options/option-error.js';
import { philoxInPlace } from './philox.js';
import { sha256 } from './sha256.js';

/** A sequence of random numbers that is the same on every platform. Drawing advances it; forks are independent. */
export interface Random {
  /** Uniform integer in [0, 2^32). */
  uint32(): number;
  /** Uniform number in [0, 1) with 53 random bits. */
  float(): number;
  /** Uniform integer in [min, max], both included, without modulo bias; max - min < 2^32. */
  integer(min: number, max: number): number;
  /** One element, uniformly. Throws on an empty array. */
  pick<T>(items: readonly T[]): T;
  /** A shuffled copy (Fisher-Yates). */
  shuffled<T>(items: readonly T[]): T[];
}

/**
 * Counter-based random numbers for everything that is drawn on the host: rows, shuffles, problems, resamples. The n-th draw
 * is Philox4x32-10 of the counter n under a key made (by SHA-256) from the seed and the stream's labels. The same seed with
 * other labels is an independent stream, so `createRandom(seed, index)` is the random state of row `index`, whatever was drawn
 * before. The order of rows of a run that is resumed stands on this stream: it never changes.
 *
 * Tensors are drawn from Threefry-2x32 instead (`threefry2x32`; `Key` of core-tensor), whose rounds are additions and rotations
 * of 32-bit words, which a graph can do on any device.
 *
 * @throws OptionError for a seed that is no safe integer, and for a range or an array that nothing can be drawn from
 */
export function createRandom(seed: number, ...stream: readonly (string | number)[]): Random {
  assertArgument('createRandom', 'seed', seed, Number.isSafeInteger(seed), 'a safe integer');
  const [k0, k1, c2, c3] = sha256(JSON.stringify([seed, ...stream])) as unknown as [number, number, number, number];
  let block = 0;
  const words = new Uint32Array(4);
  let used = 4;

  const uint32 = (): number => {
    if (used === 4) {
      words[0] = block;
      words[1] = block / 2 ** 32;
      words[2] = c2;
      words[3] = c3;
      philoxInPlace(words, k0, k1);
      block++;
      used = 0;
    }
    return words[used++]!;
  };

  let lastRange = 0;
  let limit = 0;
  const below = (range: number): number => {
    if (range !== lastRange) {
      limit = Math.floor(2 ** 32 / range) * range;
      lastRange = range;
    }
    for (;;) {
      const drawn = uint32();
      // drawn % range, exact in doubles, and many times faster than % of numbers beyond 31 bits.
      if (drawn < limit) return drawn - Math.floor(drawn / range) * range;
    }
  };

  return {
    uint32,
    float: () => ((uint32() >>> 5) * 2 ** 26 + (uint32() >>> 6)) / 2 ** 53,
    integer(min, max) {
      if (!Number.isSafeInteger(min)) assertArgument('Random.integer', 'min', min, false, 'a safe integer');
      const isRange = Number.isSafeInteger(max) && max >= min && max - min < 2 ** 32;
      if (!isRange)
        assertArgument('Random.integer', 'max', max, false, `an integer from ${min} to ${min + 2 ** 32 - 1}`);
      return min + below(max - min + 1);
    },
    pick(items) {
      assertArgument('Random.pick', 'items', items, items.length > 0, 'an array that is not empty');
      return items[below(items.length)]!;
    },
    shuffled<T>(items: readonly T[]): T[] {
      const copy = [...items];
      for (let i = copy.length - 1; i > 0; i--) {
        const j = below(i + 1);
        [copy[i], copy[j]] = [copy[j]!, copy[i]!];
      }
      return copy;
    },
  };
}
