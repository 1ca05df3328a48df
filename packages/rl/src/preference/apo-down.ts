import { type Given, number, options } from '@posttrain/interfaces';
import { logRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const apoDownOptions = options('apoDownLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `apoDownLoss`. */
export type ApoDownLossOptions = Given<typeof apoDownOptions>;

/**
 * Anchored Preference Optimization, down (arXiv 2408.06266, eq. 8): σ(βh_w) + 1 - σ(β(h_w - h_l)) with h = log π(y) - log
 * π_ref(y): both become unlikelier, and what is rejected more so, for chosen completions that are worse than the policy's
 * own.
 */
export function apoDownLoss(given: ApoDownLossOptions = {}): PreferenceLoss {
  const { beta } = apoDownOptions.read(given);
  return {
    name: 'apo_down',
    settings: apoDownOptions.settings(given),
    beta,
    compute(pairs) {
      const { chosen, margin } = logRatios(pairs);
      return chosen.mul(beta).sigmoid().add(margin.mul(-beta).sigmoid());
    },
  };
}
