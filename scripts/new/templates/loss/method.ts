import { type Given, number, options } from '@posttrain/interfaces';
import { type TokenLoss, weightedSum } from '@posttrain/training';

const myMethodOptions = options('myMethod', {
  /** γ, how little tokens count that the model is sure of; with 0 it is the negative log-likelihood. Default 2. */
  gamma: number({ default: 2, min: 0 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * The focal loss of the target tokens (arXiv 0000.00000, eq. 0): Σ w · (1 - p)^γ · (-log p).
 *
 * @throws OptionError
 */
export function myMethod(given: MyMethodOptions = {}): TokenLoss {
  const { gamma } = myMethodOptions.read(given);
  return {
    name: 'my-method',
    annotations: [],
    compute({ logProbs, weights }) {
      // Rounding may put p a little above 1, and a power of 0 has no slope.
      const doubt = logProbs.exp().neg().add(1).maximum(1e-7);
      const loss = weightedSum(doubt.pow(gamma).mul(logProbs.neg()), weights);
      return { loss, metrics: { doubt: weightedSum(doubt, weights) } };
    },
  };
}
