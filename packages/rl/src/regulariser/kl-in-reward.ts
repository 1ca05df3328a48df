import { type Given, number, options } from '@posttrain/interfaces';
import { weightedSum } from '@posttrain/training';
import type { Regulariser } from './regulariser.js';

const klInRewardOptions = options('klInReward', {
  /** Weight of the penalty. */
  beta: number({ min: 0 }),
});
/** Options of `klInReward`. */
export type KlInRewardOptions = Given<typeof klInRewardOptions>;

/**
 * r ← r - β Σ_t (log π_old - log π_ref) (RLHF, arXiv 2203.02155; RLOO in TRL): the k1 estimate of the KL of the whole
 * completion, inside the reward. The optimum is π_ref e^(r/β) / Z.
 */
export function klInReward(given: KlInRewardOptions): Regulariser {
  const { beta } = klInRewardOptions.read(given);
  return {
    name: 'kl-in-reward(k1)',
    settings: klInRewardOptions.settings(given),
    needsReference: true,
    rewardPenalty: (old, reference) => beta * old.reduce((sum, value, t) => sum + value - reference[t]!, 0),
    compute: ({ oldLogProbs, referenceLogProbs, tokenMean }) => ({
      metrics: { kl: weightedSum(oldLogProbs.sub(referenceLogProbs!), tokenMean) },
    }),
  };
}
