import { type Given, number, options } from '@posttrain/interfaces';
import type { Regulariser } from '@posttrain/rl';
import { weightedSum } from '@posttrain/training';

const myMethodOptions = options('myMethod', {
  /** β, weight of the penalty. */
  beta: number({ min: 0 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * Holds the policy to its reference (arXiv 0000.00000, eq. 0): + β Σ w (cosh(log π - log π_ref) - 1), aggregated as the surrogate is.
 *
 * @throws OptionError
 */
export function myMethod(given: MyMethodOptions): Regulariser {
  const { beta } = myMethodOptions.read(given);
  return {
    name: 'my-method',
    settings: myMethodOptions.settings(given),
    needsReference: true,
    compute({ logProbs, referenceLogProbs, weights, tokenMean }) {
      const u = logProbs.sub(referenceLogProbs!);
      const distance = u.exp().add(u.neg().exp()).div(2).sub(1);
      return {
        loss: weightedSum(distance, weights).mul(beta),
        metrics: { distance: weightedSum(distance, tokenMean) },
      };
    },
  };
}
