import { assertKnownOptions, nearestName, PosttrainError } from '@posttrain/interfaces';
import { weightedSum } from '@posttrain/training';
import { type KlEstimator, klEstimators } from './kl-estimators.js';
import type { Regulariser } from './regulariser.js';

export interface KlInLossOptions {
  /** Weight of the penalty. */
  readonly beta: number;
  /** Default `k3`, as in GRPO and TRL. */
  readonly estimator?: KlEstimator;
}

/** + β · KL(π ‖ π_ref) per token in the loss, aggregated as the surrogate is (GRPO, arXiv 2402.03300, eq. 4). */
export function klInLoss(options: KlInLossOptions): Regulariser {
  assertKnownOptions('klInLoss', options, ['beta', 'estimator']);
  const { beta, estimator = 'k3' } = options;
  if (!Object.hasOwn(klEstimators, estimator)) {
    const near = nearestName(estimator, Object.keys(klEstimators)) ?? 'k3';
    throw new PosttrainError('KL_ESTIMATOR', `klInLoss: no estimator "${estimator}"; did you mean "${near}"?`);
  }
  return {
    name: `kl-in-loss(${estimator})`,
    needsReference: true,
    compute({ logProbs, referenceLogProbs, weights, tokenMean }) {
      const kl = klEstimators[estimator](referenceLogProbs!.sub(logProbs));
      return { loss: weightedSum(kl, weights).mul(beta), metrics: { kl: weightedSum(kl, tokenMean) } };
    },
  };
}
