import { assertInteger, DataOptionError } from './errors.js';
import { hashWords } from './stable-hash.js';

type Words4 = readonly [number, number, number, number];

/**
 * Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a bijection of a 128-bit
 * counter under a 64-bit key. Ten rounds of
 *   (c0, c1, c2, c3) -> (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)),
 * the key being bumped by the Weyl constants between rounds. All words are unsigned 32-bit.
 */
export function philox4x32(counter: Words4, key: readonly [number, number]): Words4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0) >>> 0;
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** Upper 32 bits of the 64-bit product of two unsigned 32-bit numbers. */
function multiplyHigh(a: number, b: number): number {
  const aHigh = a >>> 16;
  const aLow = a & 0xffff;
  const bHigh = b >>> 16;
  const bLow = b & 0xffff;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0;
}

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
 * Counter-based random numbers: the n-th draw is Philox of the counter n under a key made (by SHA-256) from the seed
 * and the stream's labels. The same seed with other labels is an independent stream, so `createRandom(seed, index)`
 * is the random state of row `index`, whatever was drawn before.
 */
export function createRandom(seed: number, ...stream: readonly (string | number)[]): Random {
  if (!Number.isSafeInteger(seed)) {
    throw new DataOptionError('createRandom', `"seed" must be a safe integer, got ${String(seed)}.`);
  }
  const [k0, k1, c2, c3] = hashWords(JSON.stringify([seed, ...stream]));
  let block = 0;
  let words: Words4 = [0, 0, 0, 0];
  let used = 4;

  const uint32 = (): number => {
    if (used === 4) {
      words = philox4x32([block >>> 0, Math.floor(block / 2 ** 32), c2, c3], [k0, k1]);
      block++;
      used = 0;
    }
    return words[used++]!;
  };

  const below = (range: number): number => {
    const limit = Math.floor(2 ** 32 / range) * range;
    for (;;) {
      const drawn = uint32();
      if (drawn < limit) return drawn % range;
    }
  };

  return {
    uint32,
    float: () => ((uint32() >>> 5) * 2 ** 26 + (uint32() >>> 6)) / 2 ** 53,
    integer(min, max) {
      assertInteger('Random.integer', 'min', min, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
      assertInteger('Random.integer', 'max', max, min, min + 2 ** 32 - 1);
      return min + below(max - min + 1);
    },
    pick(items) {
      if (items.length === 0) throw new DataOptionError('Random.pick', 'the array is empty.');
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
