import { relu } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { logRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const hingeOptions = options('hingeLoss', {
  /** 1 / the margin of log-ratios that is wanted. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `hingeLoss`. */
export type HingeLossOptions = Given<typeof hingeOptions>;

/**
 * The hinge loss of SLiC-HF (arXiv 2305.10425), with log-ratios in place of log-probabilities, as in TRL: max(0, 1 - β(h_w - h_l))
 * with h = log π(y) - log π_ref(y). A pair whose margin β(h_w - h_l) is above 1 teaches nothing.
 */
export function hingeLoss(given: HingeLossOptions = {}): PreferenceLoss {
  const { beta } = hingeOptions.read(given);
  return {
    name: 'hinge',
    settings: hingeOptions.settings(given),
    beta,
    compute(pairs) {
      return relu(logRatios(pairs).margin.mul(-beta).add(1));
    },
  };
}
