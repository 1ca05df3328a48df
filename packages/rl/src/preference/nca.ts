import { logSigmoid } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { logRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const ncaOptions = options('ncaLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `ncaLoss`. */
export type NcaLossOptions = Given<typeof ncaOptions>;

/**
 * Noise Contrastive Alignment for pairs (arXiv 2402.05369): -log σ(βh_w) - ½ log σ(-βh_w) - ½ log σ(-βh_l) with h = log
 * π(y) - log π_ref(y). Unlike a margin it says where both log-ratios are to be, so that what is chosen does not become
 * unlikelier.
 */
export function ncaLoss(given: NcaLossOptions = {}): PreferenceLoss {
  const { beta } = ncaOptions.read(given);
  return {
    name: 'nca_pair',
    settings: ncaOptions.settings(given),
    beta,
    compute(pairs) {
      const { chosen, rejected } = logRatios(pairs);
      const noise = logSigmoid(chosen.mul(-beta)).add(logSigmoid(rejected.mul(-beta)));
      return logSigmoid(chosen.mul(beta)).add(noise.mul(0.5)).neg();
    },
  };
}
