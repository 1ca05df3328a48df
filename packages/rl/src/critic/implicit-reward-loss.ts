import { logSigmoid } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { type Loss, predictions, suffixSums, type TrainingRow, weightedSum } from '@posttrain/training';
import { type ScoredRollout, trainedTokens } from '../rollout.js';

export const implicitRewardShape = {
  /** β: what a log-ratio is multiplied by to be a reward. Default 0.05, as in PRIME. */
  beta: number({ default: 0.05, above: 0 }),
};
const lossOptions = options('implicitRewardLoss', implicitRewardShape);
/** Options of `implicitRewardLoss`. */
export type ImplicitRewardLossOptions = Given<typeof lossOptions>;

/**
 * The cross-entropy of an implicit reward model (PRIME, arXiv 2502.01456, eq. 6) over whole completions, of which only the outcome is known:
 *
 *   - mean over completions of a log σ(s) + (1 - a) log σ(-s),   s = β Σ_t log π_φ(y_t) / π_ref(y_t)
 *
 * with a from 0 (wrong) to 1 (right). Rows are those of `implicitRewardRows`, packed or not. Metrics: `prm_loss`, and `prm_accuracy`, the share of
 * completions on whose side of 1/2 the model is.
 *
 * @throws OptionError
 */
export function implicitRewardLoss(given: ImplicitRewardLossOptions = {}): Loss {
  const { beta } = lossOptions.read(given);
  return {
    name: 'implicit-reward',
    annotations: ['reference_log_probs', 'is_completion', 'accuracy'],
    computeFrom(read, { weights, segments, annotations }) {
      const { reference_log_probs, is_completion, accuracy } = annotations;
      const logRatios = read(predictions()).logProbs.sub(reference_log_probs!).mul(is_completion!);
      // A completion's weight is at its first token, from which on the sum is that of all.
      const score = suffixSums(logRatios, segments).mul(beta);
      const right = accuracy!.mul(logSigmoid(score));
      const wrong = accuracy!.neg().add(1).mul(logSigmoid(score.neg()));
      const loss = weightedSum(right.add(wrong).neg(), weights);
      const agrees = score.greater(0).equal(accuracy!.greater(0.5)).cast('float32');
      return { loss, metrics: { prm_loss: loss, prm_accuracy: weightedSum(agrees, weights) } };
    },
  };
}

/**
 * Rows of completions for `implicitRewardLoss`, which is the mean over them; one without a trained token makes none.
 *
 * @param accuracies of each, from 0 to 1; null: it is not known, and the completion makes no row
 * @param references log π_ref of each completion's tokens
 */
export function implicitRewardRows(
  rollouts: readonly Pick<ScoredRollout, 'promptTokens' | 'completionTokens' | 'mask'>[],
  accuracies: readonly (number | null)[],
  references: readonly ArrayLike<number>[],
): TrainingRow[] {
  const masks = rollouts.map(trainedTokens);
  const has = (i: number) => accuracies[i] !== null && masks[i]!.includes(1);
  const count = [...rollouts.keys()].filter(has).length;
  return rollouts.flatMap(({ promptTokens, completionTokens }, i): TrainingRow[] => {
    if (!has(i)) return [];
    const mask = masks[i]!;
    const first = mask.indexOf(1);
    const place = (value: (t: number) => number) => [
      ...new Array<number>(promptTokens.length - 1).fill(0),
      ...completionTokens.map((_, t) => value(t)),
    ];
    return [
      {
        tokens: [...promptTokens, ...completionTokens],
        weights: place((t) => (t === first ? 1 / count : 0)),
        annotations: {
          reference_log_probs: place((t) => (mask[t] ? references[i]![t]! : 0)),
          is_completion: place((t) => mask[t]!),
          accuracy: place((t) => (t === first ? accuracies[i]! : 0)),
        },
      },
    ];
  });
}
