import type { Tensor } from '@posttrain/core-tensor';
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
