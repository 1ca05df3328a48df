import { onesLike, stopGradient } from '@posttrain/core-tensor';
import { type Advantage, byGroup, nanMean } from '../advantage/advantage.js';
import { type Aggregation, total } from '../aggregation/aggregation.js';
import type { Ratio } from '../ratio/ratio.js';
import type { Surrogate } from '../surrogate/surrogate.js';

// Parts that are a line of arithmetic each: those that are more have files of their own, by kind.

/** The advantage of plain REINFORCE (Williams, 1992): A_i = r_i. Unbiased, with the largest variance. */
export function noBaseline(): Advantage {
  return {
    name: 'no-baseline',
    settings: {},
    compute: (rollouts) => byGroup(rollouts, (groups) => groups.map((group) => [...group])),
  };
}

/** REINFORCE with the mean reward of the step as its baseline: A_i = r_i - mean over all completions of all prompts. */
export function batchMean(): Advantage {
  return {
    name: 'batch-mean',
    settings: {},
    compute: (rollouts) =>
      byGroup(rollouts, (groups) => {
        const mean = nanMean(groups.flat());
        return groups.map((group) => group.map((reward) => reward - mean));
      }),
  };
}

/** ρ = 1: trusts that the completions were sampled from the policy being trained. */
export const noRatio = (): Ratio => ({ name: 'none', settings: {}, level: 'none', compute: onesLike });

/** ρ_t = π(o_t) / π_old(o_t): one ratio per token (PPO, arXiv 1707.06347; GRPO). */
export const tokenRatio = (): Ratio => ({
  name: 'token',
  settings: {},
  level: 'token',
  compute: (logRatio) => logRatio.exp(),
});

/** ρ = (π(o) / π_old(o))^(1/|o|): the geometric mean over the completion's tokens (GSPO, arXiv 2507.18071). */
export const sequenceRatio = (): Ratio => ({
  name: 'sequence',
  settings: {},
  level: 'sequence',
  compute(logRatio, mask) {
    const length = mask.sum(1, { keepDims: true }).maximum(1);
    return logRatio.sum(1, { keepDims: true }).div(length).exp().broadcastTo(logRatio.shape);
  },
});

/** ρ = π(o) / π_old(o): the ratio of whole completions (RLOO in TRL), the exact importance weight. */
export const sequenceSumRatio = (): Ratio => ({
  name: 'sequence-sum',
  settings: {},
  level: 'sequence',
  compute: (logRatio) => logRatio.sum(1, { keepDims: true }).exp().broadcastTo(logRatio.shape),
});

/** The policy gradient itself (Williams, 1992): -sg[ρ] A log π, where sg stops the gradient. Nothing is clipped. */
export function policyGradient(): Surrogate {
  return {
    name: 'policy-gradient',
    settings: {},
    needsRatio: false,
    compute: ({ logProbs, ratio, advantages }) => ({ loss: stopGradient(ratio).mul(advantages).mul(logProbs).neg() }),
  };
}

/** The mean over completions of the mean over their tokens (GRPO): 1 / (B |o_i|). Tokens of long completions count less. */
export const sequenceMean = (): Aggregation => ({
  name: 'sequence-mean',
  settings: {},
  weights: (lengths) => lengths.map((length) => 1 / (lengths.length * Math.max(length, 1))),
});

/** The mean over completions of the sum over their tokens (REINFORCE): 1 / B, the unbiased gradient of the mean reward. */
export const sequenceSum = (): Aggregation => ({
  name: 'sequence-sum',
  settings: {},
  weights: (lengths) => lengths.map(() => 1 / lengths.length),
});

/** The mean over all tokens of the step (DAPO, arXiv 2503.14476): 1 / Σ|o|. Long completions count more. */
export const tokenMean = (): Aggregation => ({
  name: 'token-mean',
  settings: {},
  weights: (lengths) => lengths.map(() => 1 / Math.max(total(lengths), 1)),
});

/**
 * The sum over tokens divided by a constant (Dr. GRPO, arXiv 2503.20783): 1 / (B · maxCompletionLength). What a token
 * weighs does not depend on how long any completion is.
 */
export const constantLength = (): Aggregation => ({
  name: 'constant-length',
  settings: {},
  weights: (lengths, { maxCompletionLength }) => lengths.map(() => 1 / (lengths.length * maxCompletionLength)),
});
