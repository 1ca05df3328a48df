import { type Given, number, options } from '@posttrain/interfaces';
import type { Loss } from '../loss/loss.js';
import { weightedSum } from '../loss/token-loss.js';
import { meanLogProb } from '../readouts/mean-log-prob.js';
import { predictions } from '../readouts/predictions.js';

const labelSmoothingOptions = options('labelSmoothing', {
  /** ε: the part of the target that is spread over all of the vocabulary. Default 0.1. */
  labelSmoothingFactor: number({ default: 0.1, min: 0, max: 1 }),
});
/** Options of `labelSmoothing`, by transformers' name. */
export type LabelSmoothingOptions = Given<typeof labelSmoothingOptions>;

/**
 * Label smoothing (arXiv 1512.00567 §7; `label_smoothing_factor` of transformers): cross entropy against (1 - ε) of the token that
 * followed and ε of the uniform distribution over the V tokens of the vocabulary,
 *
 *   Σ w · ((1 - ε) (-log p) + ε / V Σ_v -log p_v)
 *
 * An option `loss` of `sft`. Its metrics are those of `negativeLogLikelihood`; what it comes to at best is not 0 but the entropy of the
 * smoothed target.
 *
 * @throws OptionError
 */
export function labelSmoothing(given: LabelSmoothingOptions = {}): Loss & { readonly labelSmoothingFactor: number } {
  const { labelSmoothingFactor } = labelSmoothingOptions.read(given);
  const [readout, mean] = [predictions(), meanLogProb()];
  return {
    name: 'label_smoothing',
    labelSmoothingFactor,
    annotations: [],
    computeFrom(read, { weights }) {
      const { logProbs, entropies, isGreedy } = read(readout);
      const target = logProbs.mul(1 - labelSmoothingFactor).add(read(mean).mul(labelSmoothingFactor));
      return {
        loss: weightedSum(target.neg(), weights),
        metrics: { entropy: weightedSum(entropies, weights), mean_token_accuracy: weightedSum(isGreedy, weights) },
      };
    },
  };
}
