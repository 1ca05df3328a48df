import { NonFiniteLogitsError } from '../runner/non-finite.js';

/**
 * log softmax(logits / temperature), in double precision: equal only where the logits are.
 * @throws NonFiniteLogitsError where one is NaN or +∞
 */
export function logSoftmax(logits: ArrayLike<number>, temperature = 1): Float64Array {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) {
    if (logits[i]! <= largest) continue;
    largest = logits[i]!;
    // All may be excluded, which is −∞.
    if (!(largest < Number.POSITIVE_INFINITY)) {
      throw new NonFiniteLogitsError('search: the model gave logits that are not numbers');
    }
  }
  const result = new Float64Array(logits.length);
  let total = 0;
  for (let i = 0; i < logits.length; i++) {
    const value = (logits[i]! - largest) / temperature;
    result[i] = value;
    total += Math.exp(value);
  }
  const normalizer = Math.log(total);
  for (let i = 0; i < result.length; i++) result[i]! -= normalizer;
  return result;
}
