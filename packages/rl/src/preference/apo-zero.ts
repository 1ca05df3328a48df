import { type Given, number, options } from '@posttrain/interfaces';
import { logRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const apoZeroOptions = options('apoZeroLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `apoZeroLoss`. */
export type ApoZeroLossOptions = Given<typeof apoZeroOptions>;

/**
 * Anchored Preference Optimization, zero (arXiv 2408.06266, eq. 7): 1 - σ(βh_w) + σ(βh_l) with h = log π(y) - log
 * π_ref(y): what is chosen becomes likelier and what is rejected unlikelier, for chosen completions that are better than
 * the policy's own.
 */
export function apoZeroLoss(given: ApoZeroLossOptions = {}): PreferenceLoss {
  const { beta } = apoZeroOptions.read(given);
  return {
    name: 'apo_zero',
    settings: apoZeroOptions.settings(given),
    beta,
    compute(pairs) {
      const { chosen, rejected } = logRatios(pairs);
      return chosen.mul(-beta).sigmoid().add(rejected.mul(beta).sigmoid());
    },
  };
}
