import { stopGradient } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import type { Surrogate } from './surrogate.js';

const offPolicyMaskOptions = options('offPolicyMask', {
  /** δ: the largest mean of log p_sampler - log π over the tokens of a completion that is still learnt from. */
  threshold: number({ min: 0 }),
});
/** Options of `offPolicyMask`. */
export type OffPolicyMaskOptions = Given<typeof offPolicyMaskOptions>;

/**
 * The off-policy sequence mask (DeepSeek-V3.2, arXiv 2512.02556; TRL's `off_policy_mask_threshold`): a completion with a negative advantage is not
 * learnt from once the policy has moved away from what sampled it, mean_t (log p_sampler - log π) > δ. What was good is.
 *
 * @throws OptionError
 */
export function offPolicyMask(surrogate: Surrogate, given: OffPolicyMaskOptions): Surrogate {
  const { threshold } = offPolicyMaskOptions.read(given);
  return {
    ...surrogate,
    name: `off-policy-mask(${surrogate.name})`,
    settings: { ...surrogate.settings, ...offPolicyMaskOptions.settings(given) },
    needsSampler: true,
    level: 'sequence',
    compute(inputs) {
      const { logProbs, samplerLogProbs, advantages, mask } = inputs;
      const away = samplerLogProbs!.sub(stopGradient(logProbs)).mul(mask).sum(1, { keepDims: true });
      const mean = away.div(mask.sum(1, { keepDims: true }).maximum(1)).broadcastTo(logProbs.shape);
      const kept = advantages.greaterEqual(0).or(mean.lessEqual(threshold)).cast('float32');
      const { loss, clipped } = surrogate.compute(inputs);
      return { loss: loss.mul(kept), ...(clipped && { clipped }) };
    },
  };
}
