import { apply, type Tensor } from '../tensor.js';

/**
 * x, in an order: nothing that reads the result starts before every token has been computed, and nothing that reads it
 * is merged with an equal computation on x itself. Costs no copy. The tokens get no gradient. Use it to say that
 * something is to be computed again, or late, so that what it holds in memory is not held before.
 */
export function barrier(x: Tensor, tokens: readonly Tensor[]): Tensor {
  return tokens.length === 0 ? x : apply('barrier', [x, ...tokens], {});
}
