import { hash } from 'node:crypto';
import { mt19937 } from '@posttrain/interfaces/random';

/** A function of the family: x ↦ (a·x + b mod 2^64) mod (2^61 − 1), its numbers as 32-bit halves. */
interface Permutations {
  readonly aHigh: Uint32Array;
  readonly aLow: Uint32Array;
  readonly bHigh: Uint32Array;
  readonly bLow: Uint32Array;
}

/** High 32 bits of 2^61 − 1. */
const PRIME_HIGH = 0x1fffffff;

/**
 * `count` functions as datatrove draws them: of `numpy.random.RandomState(seed)` first all a in [1, 2^61 − 1), then all b in
 * [0, 2^61 − 1), by rejection sampling: each 64 bits under a mask, drawn again where too large.
 */
function permutations(count: number, seed: number): Permutations {
  const draw = mt19937(seed);
  const below = (offset: number): readonly [high: Uint32Array, low: Uint32Array] => {
    const [high, low] = [new Uint32Array(count), new Uint32Array(count)];
    // Largest value before the offset: 2^61 − 3 of [1, 2^61 − 1), and 2^61 − 2 of [0, 2^61 − 1).
    const most = 0xfffffffe - offset;
    for (let i = 0; i < count; ) {
      const [drawnHigh, drawnLow] = [draw() & PRIME_HIGH, draw()];
      if (drawnHigh === PRIME_HIGH && drawnLow > most) continue;
      low[i] = drawnLow + offset;
      high[i] = drawnHigh + (low[i]! < drawnLow ? 1 : 0);
      i++;
    }
    return [high, low];
  };
  const [aHigh, aLow] = below(1);
  const [bHigh, bLow] = below(0);
  return { aHigh, aLow, bHigh, bLow };
}

/** Hashes of shingles, 64 bits each, as halves: element 2i is the high one of shingle i. */
export type ShingleHashes = Uint32Array;

/** 64-bit hash of a text: the first 8 bytes of its SHA-1, little-endian, as FineWeb used it. */
export function hashShingles(shingles: readonly string[]): ShingleHashes {
  const hashes = new Uint32Array(2 * shingles.length);
  for (const [i, shingle] of shingles.entries()) {
    const digest = hash('sha1', shingle, 'buffer');
    hashes[2 * i] = digest.readUInt32LE(4);
    hashes[2 * i + 1] = digest.readUInt32LE(0);
  }
  return hashes;
}

/** Makes MinHash signatures: `count` minima each, of 64 or 32 bits. */
export interface MinHasher {
  readonly count: number;
  readonly precision: 32 | 64;
  /** The signature as bytes, big-endian, 8 or 4 to a minimum. The same buffer each time. */
  signature(hashes: ShingleHashes): Buffer;
}

/**
 * MinHash (Broder 1997; arXiv 2107.06499 §4.2): of each function h of a family, min over the shingles' hashes x of h(x). Two sets agree in one
 * minimum with a probability that is their Jaccard similarity. h(x) = (a·x + b mod 2^64) mod (2^61 − 1), with a and b as datatrove
 * draws them; of 32 bits, its low half.
 */
export function minHasher(count: number, seed: number, precision: 32 | 64): MinHasher {
  const { aHigh, aLow, bHigh, bLow } = permutations(count, seed);
  const bytes = Buffer.alloc((count * precision) / 8);
  return {
    count,
    precision,
    signature(hashes) {
      for (let k = 0; k < count; k++) {
        const [ah, al, bh, bl] = [aHigh[k]!, aLow[k]!, bHigh[k]!, bLow[k]!];
        const [al1, al0] = [al >>> 16, al & 0xffff];
        let [bestHigh, bestLow] = [0xffffffff, 0xffffffff];
        for (let i = 0; i < hashes.length; i += 2) {
          const [xh, xl] = [hashes[i]!, hashes[i + 1]!];
          const [xl1, xl0] = [xl >>> 16, xl & 0xffff];
          // 64-bit product of the low halves by 16-bit parts; of the high halves only what stays below 2^64.
          const p00 = al0 * xl0;
          const middle = al1 * xl0 + (p00 >>> 16);
          const p01 = al0 * xl1 + (middle & 0xffff);
          let low = ((p01 & 0xffff) * 65536 + (p00 & 0xffff)) >>> 0;
          let high = (al1 * xl1 + (middle >>> 16) + (p01 >>> 16)) >>> 0;
          high = (high + Math.imul(ah, xl) + Math.imul(al, xh)) >>> 0;
          const sum = low + bl;
          low = sum >>> 0;
          high = (high + bh + (sum > 0xffffffff ? 1 : 0)) >>> 0;
          // 2^61 ≡ 1: the top three bits are added to the rest.
          const folded = low + (high >>> 29);
          low = folded >>> 0;
          high = (high & PRIME_HIGH) + (folded > 0xffffffff ? 1 : 0);
          if (high > PRIME_HIGH || (high === PRIME_HIGH && low === 0xffffffff)) {
            // Minus 2^61 − 1.
            low = (low + 1) >>> 0;
            high = low === 0 ? 0 : high - PRIME_HIGH - 1;
          }
          if (precision === 32) high = 0;
          if (high < bestHigh || (high === bestHigh && low < bestLow)) {
            bestHigh = high;
            bestLow = low;
          }
        }
        if (precision === 64) {
          bytes.writeUInt32BE(bestHigh, 8 * k);
          bytes.writeUInt32BE(bestLow, 8 * k + 4);
        } else bytes.writeUInt32BE(bestLow, 4 * k);
      }
      return bytes;
    },
  };
}
