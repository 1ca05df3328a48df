import { chanceOfAvoiding } from '../statistics/combinatorics.js';
import type { SampleMetric } from '../task.js';
import { assertSubsetSize, binaryScores } from './samples.js';

/**
 * pass@k = E[1 − C(n−c, k)/C(n, k)]: the chance that one of k samples is right, without bias, from n ≥ k samples of
 * which c are right (Chen et al. 2021, arXiv 2107.03374). Computed as a product, which does not overflow. Samples whose
 * score is `null` do not count towards n; a problem with fewer than k scored samples has no value.
 */
export function passAtK(k: number): SampleMetric {
  assertSubsetSize('passAtK', k);
  const name = `pass@${k}`;
  return {
    name,
    value: (problem) => {
      const scores = binaryScores(name, problem);
      return scores.length < k ? null : estimatePassAtK(scores.length, scores.filter((x) => x === 1).length, k);
    },
  };
}

/** 1 − C(n−c, k)/C(n, k). */
export function estimatePassAtK(n: number, c: number, k: number): number {
  return 1 - chanceOfAvoiding(c, n, k);
}
