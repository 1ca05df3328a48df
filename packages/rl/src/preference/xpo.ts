import { where } from '@posttrain/core-tensor';
import { custom, type Given, number, OptionError, options } from '@posttrain/interfaces';
import { isPairLoss, PAIR_LOSS } from './combined.js';
import { checkedLosses } from './completions.js';
import { dpoLoss } from './dpo.js';
import type { PreferenceLoss } from './preference-loss.js';

const xpoOptions = options('xpoLoss', {
  /** The loss of pairs that is explored with; TRL's `loss_type`. Default `dpoLoss()`. */
  loss: custom<PreferenceLoss>()(PAIR_LOSS, isPairLoss, { default: dpoLoss() }),
  /** α: how much the bonus counts. Default 1e-5. */
  alpha: number({ default: 1e-5, min: 0 }),
});
/** Options of `xpoLoss`. */
export type XpoLossOptions = Given<typeof xpoOptions>;

/**
 * Exploratory Preference Optimization (arXiv 2405.21046, eq. 9): the loss of a pair, of which one completion y is the policy's and the
 * other ỹ the reference's, plus α log π(ỹ|x), summed over tokens: what the reference says already becomes unlikelier, and the policy looks
 * elsewhere. The column `is_reference_chosen` says that ỹ is the better one: `xpoPairs` draws such pairs. Logged: `loss/dpo` and
 * `loss/xpo`, which with `nll` of the loss are not all of it.
 *
 * @throws OptionError for a loss that couples the pairs of a step, or whose log-probabilities are means
 */
export function xpoLoss(given: XpoLossOptions = {}): PreferenceLoss {
  const { loss, alpha } = xpoOptions.read(given);
  if (loss.coupled || loss.logProbs === 'mean') {
    const what = loss.coupled ? 'couples the pairs of a step' : 'is over means of tokens, and the bonus is over sums';
    throw new OptionError('INVALID_OPTION', 'xpoLoss', 'loss', `${loss.name} ${what}; give another.`);
  }
  return {
    ...loss,
    name: `xpo(${loss.name})`,
    settings: xpoOptions.settings(given),
    columns: [...(loss.columns ?? []), 'is_reference_chosen'],
    learnsFromEqual: true,
    compute(pairs) {
      const { losses, metrics } = checkedLosses(loss.name, loss.compute(pairs));
      const isChosen = pairs.columns.is_reference_chosen!.greater(0.5);
      const bonus = where(isChosen, pairs.chosen, pairs.rejected).mul(alpha);
      return { losses: losses.add(bonus), metrics: { ...metrics, 'loss/dpo': losses, 'loss/xpo': bonus } };
    },
  };
}
