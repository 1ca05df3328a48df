import { onesLike, type Tensor } from '@posttrain/core-tensor';
import type { DecisiveSettings } from '@posttrain/interfaces';

/** The importance ratio between the policy being trained and the one that sampled. */
export interface Ratio {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** `sequence`: all tokens of a completion share one value, and clipping is counted per completion. */
  readonly level: 'token' | 'sequence' | 'none';
  /**
   * @param logRatio log π - log π_old per token, [b, t], 0 outside the mask
   * @param mask 1 on trained tokens, [b, t]
   * @returns the ratio of every token, [b, t]
   */
  compute(logRatio: Tensor, mask: Tensor): Tensor;
  /**
   * For a sampler that is not quite π_old: what the loss of every token is multiplied by, behind the clip and without a
   * gradient. Rollouts then need `samplerLogProbs`. Default: none.
   *
   * @param logRatio log π_old - log π_sampler per token, [b, t], 0 outside the mask
   */
  correct?(logRatio: Tensor, mask: Tensor): Tensor;
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
