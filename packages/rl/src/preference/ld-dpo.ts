import { logSigmoid } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import type { CompletionLogProbs } from './completions.js';
import type { PreferenceLoss } from './preference-loss.js';

const lddpoOptions = options('lddpoLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** α: what tokens count beyond the length that both completions have; TRL's `ld_alpha`. 1 is DPO. Default 0.5. */
  ldAlpha: number({ default: 0.5, min: 0, max: 1 }),
});
/** Options of `lddpoLoss`. */
export type LddpoLossOptions = Given<typeof lddpoOptions>;

/**
 * Length-desensitized DPO (arXiv 2409.06411): DPO with log π(y) = Σ_{t ≤ l} log π(y_t) + α Σ_{t > l} log π(y_t), where l is
 * the length of the shorter completion of the pair; the same for the reference. Of what is logged, `logps/*` and `rewards/*` are
 * of these sums, as in TRL.
 */
export function lddpoLoss(given: LddpoLossOptions = {}): PreferenceLoss {
  const { beta, ldAlpha } = lddpoOptions.read(given);
  return {
    name: 'ld-dpo',
    settings: lddpoOptions.settings(given),
    beta,
    compute({ chosenTokens, rejectedTokens }) {
      // Both follow one prompt, so that a column is the same place in both.
      const of = ({ logProbs, reference, mask }: CompletionLogProbs, other: CompletionLogProbs) => {
        const weights = other.mask
          .mul(1 - ldAlpha)
          .add(ldAlpha)
          .mul(mask);
        const own = logProbs.mul(weights).sum(1);
        return { own, reward: own.sub(reference.mul(weights).sum(1)).mul(beta) };
      };
      const [chosen, rejected] = [of(chosenTokens, rejectedTokens), of(rejectedTokens, chosenTokens)];
      const margins = chosen.reward.sub(rejected.reward);
      return {
        losses: logSigmoid(margins).neg(),
        metrics: {
          ...{ 'rewards/chosen': chosen.reward, 'rewards/rejected': rejected.reward, 'rewards/margins': margins },
          'rewards/accuracies': margins.greater(0).cast('float32'),
          ...{ 'logps/chosen': chosen.own, 'logps/rejected': rejected.own },
        },
      };
    },
  };
}
