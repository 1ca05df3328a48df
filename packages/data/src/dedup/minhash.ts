import { mt19937 } from '@posttrain/interfaces/random';
import { newMinima } from './minima-wasm.js';
import { sha1Into } from './sha1.js';

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
    const bytes = Buffer.from(shingle);
    sha1Into(bytes, 0, bytes.length, hashes, 2 * i);
  }
  return hashes;
}

/** `hashShingles(wordShingles(simplified, n))`, without the texts of the shingles. */
export function hashWordShingles(simplified: string, n: number): ShingleHashes {
  if (simplified === '') return new Uint32Array(0);
  const bytes = Buffer.from(simplified);
  const starts = [0];
  for (let at = bytes.indexOf(SPACE); at >= 0; at = bytes.indexOf(SPACE, at + 1)) starts.push(at + 1);
  starts.push(bytes.length + 1);
  const hashes = new Uint32Array(2 * Math.max(0, starts.length - n));
  for (let i = 0; 2 * i < hashes.length; i++) sha1Into(bytes, starts[i]!, starts[i + n]! - 1, hashes, 2 * i);
  return hashes;
}

const SPACE = 0x20;
const PAGE = 65_536;

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
  const { memory, minima } = newMinima();
  // Pairs of a and b, the minima, and behind them the hashes of a text.
  const [outAt, hashesAt] = [16 * count, 24 * count];
  const reserve = (bytes: number): DataView<ArrayBuffer> => {
    const missing = bytes - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
    return new DataView(memory.buffer);
  };
  const constants = reserve(hashesAt);
  for (let k = 0; k < count; k++) {
    const halves = [aLow[k]!, aHigh[k]!, bLow[k]!, bHigh[k]!];
    for (const [i, half] of halves.entries()) constants.setUint32(16 * k + 4 * i, half, true);
  }
  const bytes = Buffer.alloc((count * precision) / 8);
  const mask = precision === 64 ? -1n : 0xffffffffn;
  return {
    count,
    precision,
    signature(hashes) {
      const end = hashesAt + 4 * hashes.length;
      const view = reserve(end);
      for (let i = 0; i < hashes.length; i += 2) {
        view.setUint32(hashesAt + 4 * i, hashes[i + 1]!, true);
        view.setUint32(hashesAt + 4 * i + 4, hashes[i]!, true);
      }
      minima(hashesAt, end, 0, 16 * count, outAt, mask);
      for (let k = 0; k < count; k++) {
        const [low, high] = [view.getUint32(outAt + 8 * k, true), view.getUint32(outAt + 8 * k + 4, true)];
        if (precision === 64) {
          bytes.writeUInt32BE(high, 8 * k);
          bytes.writeUInt32BE(low, 8 * k + 4);
        } else bytes.writeUInt32BE(low, 4 * k);
      }
      return bytes;
    },
  };
}
