import { PosttrainError } from '@posttrain/interfaces';
import { NonFiniteLogitsError } from '../../runner/non-finite.js';
import { expOfNegative } from '../fast-exp.js';
import type { Logits } from '../processors/editable-scores.js';

/**
 * The tokens that may be drawn, in the order of their ids, with weights in proportion to their probabilities, the largest
 * ≤ 1. Rules remove some. The memory is kept from row to row.
 */
export class Candidates {
  tokens = new Int32Array(0);
  weights = new Float32Array(0);
  size = 0;

  reserve(capacity: number): void {
    if (this.tokens.length >= capacity) return;
    this.tokens = new Int32Array(capacity);
    this.weights = new Float32Array(capacity);
  }

  get total(): number {
    return sumOf(this.weights, this.size);
  }

  get largest(): number {
    let largest = 0;
    for (let i = 0; i < this.size; i++) if (this.weights[i]! > largest) largest = this.weights[i]!;
    return largest;
  }

  /** All tokens, with these weights. */
  fill(weights: Float32Array): void {
    this.reserve(weights.length);
    this.size = weights.length;
    this.weights.set(weights);
    for (let i = 0; i < this.size; i++) this.tokens[i] = i;
  }

  /** The tokens of a mask that the scores have, with weights exp((score − largest) / temperature). */
  fillMasked(scores: Logits, mask: Uint32Array, temperature: number): void {
    this.reserve(scores.length);
    let size = 0;
    for (let word = 0; word < mask.length; word++) {
      for (let bits = mask[word]!; bits !== 0; bits &= bits - 1) {
        const token = word * 32 + 31 - Math.clz32(bits & -bits);
        if (token < scores.length) this.tokens[size++] = token;
      }
    }
    this.size = size;
    let largest = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < size; i++) {
      const score = scores[this.tokens[i]!]!;
      if (score <= largest) continue;
      largest = score;
      if (!(score < Number.POSITIVE_INFINITY)) throw new NonFiniteLogitsError();
    }
    if (largest === Number.NEGATIVE_INFINITY) throw new NoTokenAllowedError();
    for (let i = 0; i < size; i++) {
      this.weights[i] = expOfNegative((scores[this.tokens[i]!]! - largest) / temperature);
    }
  }

  /** Removes all with a key below `least`, and all but the first `equals` of those at it. */
  keepLargest(keys: Float32Array, { least, equals }: Cut): void {
    let kept = 0;
    let left = equals;
    for (let i = 0; i < this.size; i++) {
      const key = keys[i]!;
      if (key < least || (key === least && left-- <= 0)) continue;
      this.tokens[kept] = this.tokens[i]!;
      this.weights[kept++] = this.weights[i]!;
    }
    this.size = kept;
  }

  /** Removes all with a weight below `least`. */
  keepAtLeast(least: number): void {
    // Weights are float32: compared as such, so that the largest is not below a fraction 1 of itself.
    this.keepLargest(this.weights, { least: Math.fround(least), equals: Infinity });
  }
}

/** A place in a falling order: everything above a key, and the first few of those that have it. */
export interface Cut {
  readonly least: number;
  readonly equals: number;
}

export function sumOf(weights: Float32Array, size: number): number {
  let total = 0;
  for (let i = 0; i < size; i++) total += weights[i]!;
  return total;
}

/** What a row without any possible token throws. */
export class NoTokenAllowedError extends PosttrainError {
  constructor() {
    super(
      'NO_TOKEN_ALLOWED',
      'generate: no token may come next: the constraint, badWordsIds, noRepeatNgramSize, logitBias and minNewTokens together forbid all, or the vocabulary cannot write what the constraint needs',
    );
  }
}
