import { type Given, number, options } from '@posttrain/interfaces';
import { logRatios, smoothedLogistic } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const cdpoOptions = options('cdpoLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** ε, the share of labels that are taken to be wrong. Default 0.1. */
  labelSmoothing: number({ default: 0.1, min: 0, below: 0.5 }),
});
/** Options of `cdpoLoss`. */
export type CdpoLossOptions = Given<typeof cdpoOptions>;

/**
 * Conservative DPO (Mitchell 2023, in the note on noisy preferences that came with DPO's code): -(1 - ε) log σ(βΔ) - ε log
 * σ(-βΔ) with Δ = h_w - h_l and h = log π(y) - log π_ref(y). It is least where βΔ = log((1 - ε) / ε). TRL 1.16 has it no
 * more.
 */
export function cdpoLoss(given: CdpoLossOptions = {}): PreferenceLoss {
  const { beta, labelSmoothing } = cdpoOptions.read(given);
  return {
    name: 'cdpo',
    settings: cdpoOptions.settings(given),
    beta,
    compute(pairs) {
      return smoothedLogistic(logRatios(pairs).margin.mul(beta), labelSmoothing);
    },
  };
}
