import { EvaluationError } from '../errors.js';
import { assertFinite } from '../statistics/standard-error.js';
import { fitSkewNormal, skewNormalLogCdf } from './skew-normal.js';

/**
 * Exposure of canaries by extrapolation (The Secret Sharer, arXiv 1802.08232 §4.3): a skew normal distribution is fitted to the references, and
 *
 *   exposure = −log₂ P(reference ≤ canary)
 *
 * in bits. Unlike `canaryExposure`, which cannot say more than log₂ |R|, it tells apart secrets that are likelier than all references, as far as the distribution fits
 * them. As `compute_exposure_extrapolation` of TensorFlow Privacy; a likelihood that is too small for a floating-point number has its exposure all the same.
 *
 * @param canaries perplexity, or −log-probability, of each secret: smaller is likelier
 * @param references the same of secrets that were not in the training texts, at least three, not all alike
 * @returns one number a canary; Infinity beyond 2^1024 bits
 * @throws EvaluationError `NO_POPULATION`, `NOT_FINITE`
 */
export function extrapolatedExposure(canaries: readonly number[], references: readonly number[]): number[] {
  assertFinite('extrapolatedExposure: canaries,', canaries);
  assertFinite('extrapolatedExposure: references,', references);
  if (references.length < 3 || references.every((one) => one === references[0])) {
    throw new EvaluationError(
      'NO_POPULATION',
      `extrapolatedExposure: ${references.length} references ${references.length < 3 ? 'are too few' : 'that are all alike'} to fit a distribution of three parameters; score at least three different ones.`,
    );
  }
  const fitted = fitSkewNormal(references);
  // −0 for a canary that all references are likelier than.
  return canaries.map((canary) => Math.max(0, -skewNormalLogCdf(canary, fitted) / Math.LN2));
}
