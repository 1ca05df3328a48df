import { EvaluationError } from '../errors.js';
import { fitSkewNormal, log2SkewNormalCdf } from '../statistics/skew-normal.js';
import { assertFinite } from '../statistics/standard-error.js';

/**
 * Exposure of canaries (The Secret Sharer, arXiv 1802.08232 §4.2): secrets of one random form were put into the training texts; of each, where it is among others of that
 * form that were not (the references),
 *
 *   exposure = log₂ |R| − log₂ rank,   rank = 1 + the number of references that are as likely or likelier
 *
 * in bits. A secret that was not learnt has a rank like any other, so that its exposure is 1.44 on average (log₂ e); log₂ |R| says that it is likelier than all. As
 * `compute_exposure_interpolation` of TensorFlow Privacy.
 *
 * @param canaries perplexity, or −log-probability, of each secret: smaller is likelier
 * @param references the same of secrets that were not in the training texts, at least one
 * @returns one number a canary
 * @throws EvaluationError `NO_POPULATION`, `NOT_FINITE`
 */
export function canaryExposure(canaries: readonly number[], references: readonly number[]): number[] {
  assertScores('canaryExposure', canaries, references, 1);
  const sorted = Float64Array.from(references).sort();
  return canaries.map((canary) => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle]! <= canary) low = middle + 1;
      else high = middle;
    }
    return Math.log2(sorted.length) - Math.log2(low + 1);
  });
}

/**
 * The same by extrapolation (§4.3): a skew normal distribution is fitted to the references, and
 *
 *   exposure = −log₂ P(a reference is as likely or likelier)
 *
 * so that secrets that are likelier than all references are told apart, and few references do. It rests on the fit: where log-probabilities of secrets are no skew normal (of a form with few parts, or with two
 * modes), so is the exposure of those far away. As `compute_exposure_extrapolation` of TensorFlow Privacy, whose fit is scipy's.
 *
 * @param canaries perplexity, or −log-probability, of each secret: smaller is likelier
 * @param references the same of secrets that were not in the training texts, at least three that are not all alike
 * @returns one number a canary, in bits
 * @throws EvaluationError `NO_POPULATION`, `NOT_FINITE`
 */
export function extrapolatedExposure(canaries: readonly number[], references: readonly number[]): number[] {
  assertScores('extrapolatedExposure', canaries, references, 3);
  const fitted = fitSkewNormal(references);
  if (!fitted)
    throw new EvaluationError(
      'NO_POPULATION',
      'extrapolatedExposure: the references are all alike; there is nothing to fit.',
    );
  return canaries.map((canary) => -log2SkewNormalCdf(fitted, canary) + 0);
}

function assertScores(where: string, canaries: readonly number[], references: readonly number[], least: number): void {
  if (references.length < least)
    throw new EvaluationError(
      'NO_POPULATION',
      `${where}: there are ${references.length === 0 ? 'no' : `only ${references.length}`} references; score ${least} or more secrets of the same form that were not trained on.`,
    );
  assertFinite(`${where}: canaries,`, canaries);
  assertFinite(`${where}: references,`, references);
}
