import { logSigmoid } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { meanLogRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const sigmoidNormOptions = options('sigmoidNormLoss', {
  /** How strongly the policy is held to the reference, per token: larger than for sums. Default 0.1, as in TRL; the paper has 5. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `sigmoidNormLoss`. */
export type SigmoidNormLossOptions = Given<typeof sigmoidNormOptions>;

/**
 * DPO with log-ratios averaged over the tokens of a completion (Tülu 3, arXiv 2411.15124, as in TRL):
 * -log σ(β(h_w / |y_w| - h_l / |y_l|)) with h = log π(y) - log π_ref(y), so that longer completions are not preferred for their length.
 */
export function sigmoidNormLoss(given: SigmoidNormLossOptions = {}): PreferenceLoss {
  const { beta } = sigmoidNormOptions.read(given);
  return {
    name: 'sigmoid_norm',
    settings: sigmoidNormOptions.settings(given),
    beta,
    compute(pairs) {
      return logSigmoid(meanLogRatios(pairs).margin.mul(beta)).neg();
    },
  };
}
