import { type Given, number, options } from '@posttrain/interfaces';
import type { PreferenceLoss } from './preference-loss.js';

const ipoOptions = options('ipoLoss', {
  /** τ of the paper: the log-ratios of a pair are to differ by 1/(2β), per token. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `ipoLoss`. */
export type IpoLossOptions = Given<typeof ipoOptions>;

/**
 * Identity Preference Optimization (arXiv 2310.12036, eq. 17), with log-ratios averaged over the tokens of a completion, as in TRL:
 * (h_w / |y_w| - h_l / |y_l| - 1/(2β))² with h = log π(y) - log π_ref(y).
 */
export function ipoLoss(given: IpoLossOptions = {}): PreferenceLoss {
  const { beta } = ipoOptions.read(given);
  return {
    name: 'ipo',
    settings: ipoOptions.settings(given),
    beta,
    compute: ({ chosen, rejected, referenceChosen, referenceRejected, chosenLengths, rejectedLengths }) =>
      chosen
        .sub(referenceChosen)
        .div(chosenLengths)
        .sub(rejected.sub(referenceRejected).div(rejectedLengths))
        .sub(1 / (2 * beta))
        .square(),
  };
}
