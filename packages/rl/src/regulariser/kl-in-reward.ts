import { type Given, number, oneOf, options } from '@posttrain/interfaces';
import { weightedSum } from '@posttrain/training';
import { klEstimators } from './kl-estimators.js';
import type { Regulariser } from './regulariser.js';

const klInRewardShape = {
  /** Weight of the penalty. */
  beta: number({ min: 0 }),
  /** Default `k1`, as in RLHF and TRL. */
  estimator: oneOf(['k1', 'k3'], { default: 'k1' }),
};
const klInRewardOptions = options('klInReward', klInRewardShape);
/** Options of `klInReward`. */
export type KlInRewardOptions = Given<typeof klInRewardOptions>;

/** The estimators of `klEstimators` for one number. */
const ofNumber = { k1: (u: number) => -u, k3: (u: number) => Math.exp(u) - u - 1 };

/**
 * r ← r - β Σ_t k(log π_ref - log π_old) (RLHF, arXiv 2203.02155; RLOO and PPO in TRL): an estimate of the KL of the whole
 * completion, inside the reward; k1 is log π_old - log π_ref. Where the advantage has rewards of tokens, each token pays its own
 * part. The optimum is π_ref e^(r/β) / Z.
 */
export function klInReward(given: KlInRewardOptions): Regulariser {
  const { beta, estimator } = klInRewardOptions.read(given);
  return {
    name: `kl-in-reward(${estimator})`,
    settings: klInRewardOptions.settings(given),
    needsReference: true,
    rewardPenalty: (old, reference) =>
      beta * old.reduce((sum, value, t) => sum + ofNumber[estimator](reference[t]! - value), 0),
    compute: ({ oldLogProbs, referenceLogProbs, tokenMean }) => ({
      metrics: { kl: weightedSum(klEstimators[estimator](referenceLogProbs!.sub(oldLogProbs)), tokenMean) },
    }),
  };
}
