import { logSigmoid } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import type { PreferenceLoss } from './preference-loss.js';

const simpoOptions = options('simpoLoss', {
  /** What the mean log-probabilities are multiplied by. Default 2. */
  beta: number({ default: 2, above: 0 }),
  /** By how much the reward of the chosen completion is to be higher; TRL's `simpo_gamma`. Default 0.5. */
  gamma: number({ default: 0.5 }),
});
/** Options of `simpoLoss`. */
export type SimpoLossOptions = Given<typeof simpoOptions>;

/**
 * Simple Preference Optimization (arXiv 2405.14734, eq. 6): -log σ(β log π(y_w) / |y_w| - β log π(y_l) / |y_l| - γ). It has no
 * reference. TRL's is CPOTrainer with `loss_type="simpo"` and `cpo_alpha=0`.
 */
export function simpoLoss(given: SimpoLossOptions = {}): PreferenceLoss {
  const { beta, gamma } = simpoOptions.read(given);
  return {
    name: 'simpo',
    settings: simpoOptions.settings(given),
    beta,
    reference: false,
    logProbs: 'mean',
    compute: ({ chosen, rejected }) => logSigmoid(chosen.sub(rejected).mul(beta).sub(gamma)).neg(),
  };
}
