import { EvaluationError } from '../errors.js';
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
  if (references.length === 0)
    throw new EvaluationError(
      'NO_POPULATION',
      'canaryExposure: there are no references; score secrets of the same form that were not trained on.',
    );
  assertFinite('canaryExposure: canaries,', canaries);
  assertFinite('canaryExposure: references,', references);
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
