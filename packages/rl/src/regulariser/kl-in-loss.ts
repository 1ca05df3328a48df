import { type Given, number, oneOf, options } from '@posttrain/interfaces';
import { weightedSum } from '@posttrain/training';
import { type KlEstimator, klEstimators } from './kl-estimators.js';
import type { Regulariser } from './regulariser.js';

const klInLossOptions = options('klInLoss', {
  /** Weight of the penalty. */
  beta: number({ min: 0 }),
  /** Default `k3`, as in GRPO and TRL. */
  estimator: oneOf(Object.keys(klEstimators) as KlEstimator[], { default: 'k3' }),
});
/** Options of `klInLoss`. */
export type KlInLossOptions = Given<typeof klInLossOptions>;

/** + β · KL(π ‖ π_ref) per token in the loss, aggregated as the surrogate is (GRPO, arXiv 2402.03300, eq. 4). */
export function klInLoss(given: KlInLossOptions): Regulariser {
  const { beta, estimator } = klInLossOptions.read(given);
  return {
    name: `kl-in-loss(${estimator})`,
    settings: klInLossOptions.settings(given),
    needsReference: true,
    compute({ logProbs, referenceLogProbs, weights, tokenMean }) {
      const kl = klEstimators[estimator](referenceLogProbs!.sub(logProbs));
      return { loss: weightedSum(kl, weights).mul(beta), metrics: { kl: weightedSum(kl, tokenMean) } };
    },
  };
}
