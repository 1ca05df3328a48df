import { boolean, type Given, number, oneOf, options } from '@posttrain/interfaces';
import { weightedSum } from '@posttrain/training';
import { type KlEstimator, klEstimators } from './kl-estimators.js';
import type { Regulariser } from './regulariser.js';

const klInLossOptions = options('klInLoss', {
  /** Weight of the penalty. */
  beta: number({ min: 0 }),
  /** Default `k3`, as in GRPO and TRL. */
  estimator: oneOf(Object.keys(klEstimators) as KlEstimator[], { default: 'k3' }),
  /**
   * Times the objective's ratio, with its gradient: an unbiased estimate of a policy that has moved from the one that sampled
   * (DeepSeek-V3.2, arXiv 2512.02556; TRL's `use_bias_correction_kl`). Default false.
   */
  biasCorrection: boolean({ default: false }),
});
/** Options of `klInLoss`. */
export type KlInLossOptions = Given<typeof klInLossOptions>;

/** + β · KL(π ‖ π_ref) per token in the loss, aggregated as the surrogate is (GRPO, arXiv 2402.03300, eq. 4). */
export function klInLoss(given: KlInLossOptions): Regulariser {
  const { beta, estimator, biasCorrection } = klInLossOptions.read(given);
  return {
    name: `kl-in-loss(${estimator})`,
    settings: klInLossOptions.settings(given),
    needsReference: true,
    compute({ logProbs, referenceLogProbs, weights, tokenMean, ratio }) {
      const estimate = klEstimators[estimator](referenceLogProbs!.sub(logProbs));
      const kl = biasCorrection ? estimate.mul(ratio) : estimate;
      return { loss: weightedSum(kl, weights).mul(beta), metrics: { kl: weightedSum(kl, tokenMean) } };
    },
  };
}
