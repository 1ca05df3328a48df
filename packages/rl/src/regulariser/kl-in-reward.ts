import { assertKnownOptions } from '@posttrain/interfaces';
import { weightedSum } from '@posttrain/training';
import type { Regulariser } from './regulariser.js';

export interface KlInRewardOptions {
  /** Weight of the penalty. */
  readonly beta: number;
}

/**
 * r ← r - β Σ_t (log π_old - log π_ref) (RLHF, arXiv 2203.02155; RLOO in TRL): the k1 estimate of the KL of the whole
 * completion, inside the reward. The optimum is π_ref e^(r/β) / Z.
 */
export function klInReward(options: KlInRewardOptions): Regulariser {
  assertKnownOptions('klInReward', options, ['beta']);
  return {
    name: 'kl-in-reward(k1)',
    needsReference: true,
    rewardPenalty: (old, reference) => options.beta * old.reduce((sum, value, t) => sum + value - reference[t]!, 0),
    compute: ({ oldLogProbs, referenceLogProbs, tokenMean }) => ({
      metrics: { kl: weightedSum(oldLogProbs.sub(referenceLogProbs!), tokenMean) },
    }),
  };
}
