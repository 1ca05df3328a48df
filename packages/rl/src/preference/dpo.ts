import { logSigmoid } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { logRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const dpoLossOptions = options('dpoLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `dpoLoss`. */
export type DpoLossOptions = Given<typeof dpoLossOptions>;

/**
 * Direct Preference Optimization (arXiv 2305.18290, eq. 7):
 * -log σ(β [(log π(y_w) - log π_ref(y_w)) - (log π(y_l) - log π_ref(y_l))]), with log-probabilities summed over tokens.
 */
export function dpoLoss(given: DpoLossOptions = {}): PreferenceLoss {
  const { beta } = dpoLossOptions.read(given);
  return {
    name: 'dpo(sigmoid)',
    settings: dpoLossOptions.settings(given),
    beta,
    compute: (pairs) => logSigmoid(logRatios(pairs).margin.mul(beta)).neg(),
  };
}
