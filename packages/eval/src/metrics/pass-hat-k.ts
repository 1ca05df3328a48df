import type { SampleMetric } from '../task.js';
import { hypergeometricTail } from './hypergeometric.js';
import { assertSubsetSize, binaryScores, metricOfGraded } from './samples.js';

/**
 * pass^k = E[C(c, k)/C(n, k)]: the chance that all of k samples are right, without bias, from n ≥ k samples of which c are right (τ-bench, arXiv
 * 2406.12045): what a user sees who asks k times. A problem with fewer than k graded samples has no value.
 */
export function passHatK(k: number): SampleMetric {
  assertSubsetSize('passHatK', k);
  const name = `pass^${k}`;
  return metricOfGraded(name, k, (problem) => {
    const scores = binaryScores(name, problem);
    return hypergeometricTail(scores.length, scores.filter((x) => x === 1).length, k, k);
  });
}
