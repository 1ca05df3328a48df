import { PosttrainError, showValue } from '@posttrain/interfaces';
import { threefry2x32 } from '@posttrain/interfaces/random';
import { tensor } from '../create.js';
import { apply, type Tensor } from '../tensor.js';

/** 2^-24: the spacing of the uniform numbers, all of which a float32 holds exactly. */
const UNIFORM_STEP = 2 ** -24;

/**
 * A random key: 64 bits that name a stream of random numbers. The same key gives the same numbers on every engine
 * and machine; different keys, and children of one key under different numbers, give independent streams.
 */
export class Key {
  readonly #high: number;
  readonly #low: number;

  private constructor(high: number, low: number) {
    this.#high = high;
    this.#low = low;
  }

  /** The key of an integer seed between 0 and 2^53. */
  static fromSeed(seed: number): Key {
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw new PosttrainError('SEED', `a seed must be an integer from 0 to 2^53 - 1, not ${showValue(seed)}`);
    }
    return new Key(Math.floor(seed / 2 ** 32) | 0, seed | 0);
  }

  /** An independent key for part `index` of what this key is used for: a step, a layer, a row. */
  child(index: number): Key {
    if (!Number.isInteger(index) || index < 0 || index >= 2 ** 32) {
      throw new PosttrainError('SEED', `the index of a child key must be an integer from 0 to 2^32 - 1, not ${index}`);
    }
    const words = new Int32Array(2);
    // The counter's second word is 1 here and 0 in `randomBits`, so children never repeat a drawn number.
    threefry2x32(this.#high, this.#low, index | 0, 1, words, 0);
    return new Key(words[0]!, words[1]!);
  }

  /** The key as an int32 [2] tensor: what random operations inside a compiled function take. */
  toTensor(): Tensor {
    return tensor(new Int32Array([this.#high, this.#low]), [2], 'int32');
  }

  /**
   * `count` uniform numbers in [0, 1) on the host; the same as `uniform(key.toTensor(), [count])`. `from`: those of the
   * stream from this position on.
   */
  uniformHost(count: number, from = 0): Float64Array {
    const next = this.#uniforms(from);
    return new Float64Array(count).map(next);
  }

  /** `count` standard normal numbers on the host; up to rounding the same as `normal(key.toTensor(), [count])`. */
  normalHost(count: number): Float32Array {
    const [radius, angle] = [this.#uniforms(0), this.#uniforms(count)];
    return new Float32Array(count).map(() => Math.sqrt(-2 * Math.log(1 - radius())) * Math.cos(2 * Math.PI * angle()));
  }

  /** The numbers of the stream from position `start` on, one a call. */
  #uniforms(start: number): () => number {
    const words = new Int32Array(2);
    let position = start;
    return () => {
      if (position === start || position % 2 === 0)
        threefry2x32(this.#high, this.#low, Math.floor(position / 2), 0, words, 0);
      return (words[position++ % 2]! & 0xffffff) * UNIFORM_STEP;
    };
  }
}

/** Random 32-bit integers from an int32 [2] key. */
export const randomBits = (key: Tensor, shape: readonly number[]): Tensor => apply('randomBits', [key], { shape });

/** Uniform float32 numbers in [0, 1), multiples of 2^-24. */
export function uniform(key: Tensor, shape: readonly number[]): Tensor {
  // The low 24 bits of a word, as a non-negative number: int32 has no unsigned shift among the primitives.
  const low = randomBits(key, shape).mod(2 ** 24);
  return low.cast('float32').mul(UNIFORM_STEP);
}

/** Standard normal float32 numbers (Box-Muller over two independent uniforms). */
export function normal(key: Tensor, shape: readonly number[]): Tensor {
  const both = uniform(key, [2, ...shape]);
  const [u, angle] = [both.slice(0, 0, 1).squeeze(0), both.slice(0, 1, 2).squeeze(0)];
  // 1 - u lies in (0, 1], so the logarithm is finite.
  const radius = u.neg().add(1).log().mul(-2).sqrt();
  return radius.mul(angle.mul(2 * Math.PI).cos());
}

/** Zeroes each element with probability `rate` and divides the rest by 1 - rate; identity for rate 0. */
export function dropout(x: Tensor, rate: number, key: Tensor): Tensor {
  if (!(rate >= 0 && rate < 1)) {
    throw new PosttrainError('DROPOUT', `the dropout rate must be at least 0 and below 1, not ${rate}`);
  }
  if (rate === 0) return x;
  const keep = uniform(key, x.shape).greaterEqual(rate);
  return x.mul(keep.cast(x.dtype)).mul(1 / (1 - rate));
}
