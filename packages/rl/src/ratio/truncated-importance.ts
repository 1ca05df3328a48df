import { stopGradient, type Tensor } from '@posttrain/core-tensor';
import { type Given, number, oneOf, options } from '@posttrain/interfaces';
import type { Ratio } from './ratio.js';

const truncatedImportanceOptions = options('truncatedImportance', {
  /** C: the largest weight. Default 3, as TRL's `vllm_importance_sampling_clip_max`. */
  cap: number({ default: 3, above: 0 }),
  /** What has a weight: each token, or each completion by the product over its tokens. Default `token`. */
  level: oneOf(['token', 'sequence'], { default: 'token' }),
  /** What becomes of weights above the cap: they are the cap (`truncate`, TIS), or 0 (`mask`, MIS). Default `truncate`. */
  mode: oneOf(['truncate', 'mask'], { default: 'truncate' }),
});
/** Options of `truncatedImportance`. */
export type TruncatedImportanceOptions = Given<typeof truncatedImportanceOptions>;

/**
 * A ratio with truncated importance sampling (Ionides, 2008; ρ̄ of IMPALA, arXiv 1802.01561; TRL's modes `token_truncate`, `token_mask`,
 * `sequence_truncate`, `sequence_mask`): the loss is multiplied by min(π_old / π_sampler, C), where π_sampler is what the
 * sampler computed (another engine, other kernels, an older policy) and π_old what the trainer computes of the same tokens.
 * In `trainPolicy` it needs `oldLogProbs: 'recomputed'`, or a source that samples from something else (`singleTurn({ mix })`).
 *
 * @throws OptionError
 */
export function truncatedImportance(ratio: Ratio, given: TruncatedImportanceOptions = {}): Ratio {
  const { cap, level, mode } = truncatedImportanceOptions.read(given);
  const weightsOf = (logRatio: Tensor): Tensor =>
    level === 'token' ? logRatio.exp() : logRatio.sum(1, { keepDims: true }).exp().broadcastTo(logRatio.shape);
  return {
    ...ratio,
    name: `truncated-importance(${ratio.name})`,
    settings: { ...ratio.settings, ...truncatedImportanceOptions.settings(given) },
    correct(logRatio) {
      const weights = stopGradient(weightsOf(logRatio));
      return mode === 'truncate' ? weights.minimum(cap) : weights.mul(weights.lessEqual(cap).cast('float32'));
    },
  };
}
