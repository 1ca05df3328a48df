import { type Given, number, options } from '@posttrain/interfaces';
import { logRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const sppoOptions = options('sppoLoss', {
  /** 1 / η of the paper: log-ratios are to become 1/(2β) and -1/(2β). Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `sppoLoss`. */
export type SppoLossOptions = Given<typeof sppoOptions>;

/**
 * Self-Play Preference Optimization with hard labels (arXiv 2405.00675, eq. 4.7 with P = 1 for the winner and 0 for the
 * loser): (h_w - 1/(2β))² + (h_l + 1/(2β))² with h = log π(y) - log π_ref(y).
 */
export function sppoLoss(given: SppoLossOptions = {}): PreferenceLoss {
  const { beta } = sppoOptions.read(given);
  return {
    name: 'sppo_hard',
    settings: sppoOptions.settings(given),
    beta,
    compute(pairs) {
      const { chosen, rejected } = logRatios(pairs);
      const wanted = 1 / (2 * beta);
      return chosen.sub(wanted).square().add(rejected.add(wanted).square());
    },
  };
}
