import { passAtK as estimatePassAtK } from '@posttrain/interfaces/estimators';
import type { SampleMetric } from '../task.js';
import { assertSubsetSize, binaryScores, metricOfGraded } from './samples.js';

/**
 * pass@k = E[1 − C(n−c, k)/C(n, k)]: the chance that one of k samples is right, without bias, from n ≥ k samples of
 * which c are right (Chen et al. 2021, arXiv 2107.03374). A problem with fewer than k graded samples has no value.
 */
export function passAtK(k: number): SampleMetric {
  assertSubsetSize('passAtK', k);
  const name = `pass@${k}`;
  return metricOfGraded(name, k, (problem) => {
    const scores = binaryScores(name, problem);
    return estimatePassAtK(scores.length, scores.filter((x) => x === 1).length, k);
  });
}

export { estimatePassAtK };
