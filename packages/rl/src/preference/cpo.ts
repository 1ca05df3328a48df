import { logSigmoid } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import type { PreferenceLoss } from './preference-loss.js';

const cpoOptions = options('cpoLoss', {
  /** What log-probabilities are multiplied by. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** What the likelihood of the chosen completions counts; TRL's `cpo_alpha`. Default 1; with 0 it has no part. */
  cpoAlpha: number({ default: 1, min: 0 }),
});
/** Options of `cpoLoss`. */
export type CpoLossOptions = Given<typeof cpoOptions>;

/**
 * Contrastive Preference Optimization (arXiv 2401.08417, eq. 3): -log σ(β(log π(y_w) - log π(y_l))) + α NLL(y_w), with
 * log-probabilities summed over tokens and the likelihood a mean over all chosen tokens of the step. It has no reference.
 */
export function cpoLoss(given: CpoLossOptions = {}): PreferenceLoss {
  const { beta, cpoAlpha } = cpoOptions.read(given);
  return {
    name: 'cpo',
    settings: cpoOptions.settings(given),
    beta,
    reference: false,
    ...(cpoAlpha > 0 && { nll: { weight: cpoAlpha, over: 'completion' as const } }),
    compute: ({ chosen, rejected }) => logSigmoid(chosen.sub(rejected).mul(beta)).neg(),
  };
}
