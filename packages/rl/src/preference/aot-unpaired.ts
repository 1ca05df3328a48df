import { type AotLossOptions, aotOptions, sorted } from './aot.js';
import { logRatios, smoothedLogistic } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

/**
 * Alignment via Optimal Transport, for completions that are not of pairs (arXiv 2406.05882): -(1 - ε) log σ(βd) - ε log σ(-βd) with
 * d_i = sort(h_w)_i - sort(h_l)_i and h = log π(y) - log π_ref(y), sorted over all chosen and all rejected completions of a step.
 * Sorting couples them, so that a step takes two passes.
 */
export function aotUnpairedLoss(given: AotLossOptions = {}): PreferenceLoss {
  const { beta, labelSmoothing } = aotOptions.read(given);
  return {
    name: 'aot_unpaired',
    settings: aotOptions.settings(given),
    beta,
    coupled: true,
    compute(pairs) {
      const { chosen, rejected } = logRatios(pairs);
      const x = sorted(chosen).sub(sorted(rejected)).mul(beta);
      return smoothedLogistic(x, labelSmoothing);
    },
  };
}
