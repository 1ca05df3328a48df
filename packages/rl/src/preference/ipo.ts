import { boolean, type Given, number, options } from '@posttrain/interfaces';
import { logRatios, meanLogRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const ipoOptions = options('ipoLoss', {
  /** τ of the paper: the log-ratios of a pair are to differ by 1/(2β). Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** Whether log-ratios are means over the tokens of a completion, as TRL's DPOTrainer has it, or sums, as the paper. Default true. */
  averageLogProb: boolean({ default: true }),
});
/** Options of `ipoLoss`. */
export type IpoLossOptions = Given<typeof ipoOptions>;

/**
 * Identity Preference Optimization (arXiv 2310.12036, eq. 17): (h_w - h_l - 1/(2β))² with h = log π(y) - log π_ref(y), by default
 * divided by the number of tokens of the completion, as in TRL.
 */
export function ipoLoss(given: IpoLossOptions = {}): PreferenceLoss {
  const { beta, averageLogProb } = ipoOptions.read(given);
  return {
    name: 'ipo',
    settings: ipoOptions.settings(given),
    beta,
    compute(pairs) {
      const { margin } = averageLogProb ? meanLogRatios(pairs) : logRatios(pairs);
      return margin.sub(1 / (2 * beta)).square();
    },
  };
}
