import { logSigmoid, relu } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { logRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const dpopOptions = options('dpopLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** λ, what a chosen completion pays for becoming unlikelier. Default 50, as in the paper. */
  lambda: number({ default: 50, min: 0 }),
});
/** Options of `dpopLoss`. */
export type DpopLossOptions = Given<typeof dpopOptions>;

/**
 * DPO-Positive (Smaug, arXiv 2402.13228): -log σ(β(h_w - h_l - λ max(0, -h_w))) with h = log π(y) - log π_ref(y): a
 * chosen completion that becomes unlikelier than under the reference costs λ times as much as a margin gives.
 */
export function dpopLoss(given: DpopLossOptions = {}): PreferenceLoss {
  const { beta, lambda } = dpopOptions.read(given);
  return {
    name: 'dpop',
    settings: dpopOptions.settings(given),
    beta,
    compute(pairs) {
      const { chosen, margin } = logRatios(pairs);
      return logSigmoid(margin.sub(relu(chosen.neg()).mul(lambda)).mul(beta)).neg();
    },
  };
}
