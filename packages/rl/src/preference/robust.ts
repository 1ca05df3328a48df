import { logSigmoid } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { logRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const robustOptions = options('robustLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** ε, the share of labels that are taken to be wrong. Default 0. */
  labelSmoothing: number({ default: 0, min: 0, below: 0.5 }),
});
/** Options of `robustLoss`. */
export type RobustLossOptions = Given<typeof robustOptions>;

/**
 * Robust DPO (arXiv 2403.00409): [-(1 - ε) log σ(βΔ) + ε log σ(-βΔ)] / (1 - 2ε) with Δ = h_w - h_l and h = log
 * π(y) - log π_ref(y). If a share ε of the labels is flipped, its mean is DPO's loss on the right labels.
 */
export function robustLoss(given: RobustLossOptions = {}): PreferenceLoss {
  const { beta, labelSmoothing } = robustOptions.read(given);
  return {
    name: 'robust',
    settings: robustOptions.settings(given),
    beta,
    compute(pairs) {
      const x = logRatios(pairs).margin.mul(beta);
      const clean = logSigmoid(x).mul(labelSmoothing - 1);
      return clean.add(logSigmoid(x.neg()).mul(labelSmoothing)).div(1 - 2 * labelSmoothing);
    },
  };
}
