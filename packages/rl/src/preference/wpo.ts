import { stopGradient, type Tensor } from '@posttrain/core-tensor';
import { custom, type Given, OptionError, options } from '@posttrain/interfaces';
import { collisionEntropy } from '@posttrain/training';
import { isPairLoss, PAIR_LOSS } from './combined.js';
import { type CompletionLogProbs, checkedLosses } from './completions.js';
import { dpoLoss } from './dpo.js';
import type { PreferenceLoss } from './preference-loss.js';

const wpoOptions = options('wpoLoss', {
  /** The loss of pairs that is weighted. Default `dpoLoss()`. */
  loss: custom<PreferenceLoss>()(PAIR_LOSS, isPairLoss, { default: dpoLoss() }),
});
/** Options of `wpoLoss`. */
export type WpoLossOptions = Given<typeof wpoOptions>;

/** -log Σ_v π(v)²: one readout for all, which is compiled once. */
const entropyOfOrderTwo = collisionEntropy();

/**
 * Weighted Preference Optimization (arXiv 2406.11827, eq. 2): the loss of every pair times w(y_w) w(y_l), with
 * w(y) = exp(1/|y| Σ_t [log π(y_t) - log Σ_v π(v)²]), which has no gradient: pairs that the policy would say itself count more. TRL's
 * `use_weighting`; as there, w is not cut off at 1. A likelihood (`nll`) of the loss is not weighted. Logged: `weights/mean`.
 *
 * @throws OptionError for a loss that couples the pairs of a step
 */
export function wpoLoss(given: WpoLossOptions = {}): PreferenceLoss {
  const { loss } = wpoOptions.read(given);
  if (loss.coupled) {
    const problem = `${loss.name} couples the pairs of a step, so that no loss is that of a pair; give another.`;
    throw new OptionError('INVALID_OPTION', 'wpoLoss', 'loss', problem);
  }
  return {
    ...loss,
    name: `wpo(${loss.name})`,
    settings: wpoOptions.settings(given),
    compute(pairs) {
      const entropies = pairs.read(entropyOfOrderTwo);
      const weightOf = ({ logProbs, mask }: CompletionLogProbs, entropy: Tensor, lengths: Tensor) =>
        logProbs.add(entropy).mul(mask).sum(1).div(lengths).exp();
      const weights = stopGradient(
        weightOf(pairs.chosenTokens, entropies.chosen, pairs.chosenLengths).mul(
          weightOf(pairs.rejectedTokens, entropies.rejected, pairs.rejectedLengths),
        ),
      );
      const { losses, metrics } = checkedLosses(loss.name, loss.compute(pairs));
      return { losses: losses.mul(weights), metrics: { ...metrics, 'weights/mean': weights } };
    },
  };
}
