import { EvaluationError } from '../errors.js';
import type { SampleMetric } from '../task.js';
import { hypergeometricTail } from './hypergeometric.js';
import { assertSubsetSize, binaryScores, metricOfGraded } from './samples.js';

/**
 * G-Pass@k_τ (arXiv 2412.13147): the chance that at least ⌈τk⌉ of k samples are right, without bias, from n ≥ k samples of which c are right,
 * Σ_{j ≥ max(⌈τk⌉, 1)} C(c, j) C(n−c, k−j) / C(n, k). With τ → 0 it is pass@k, with τ = 1 pass^k. A problem with fewer than k graded samples has no value.
 *
 * @param threshold τ, from 0 to 1
 * @throws EvaluationError `BAD_OPTION`
 */
export function gPassAtK(k: number, threshold: number): SampleMetric {
  assertSubsetSize('gPassAtK', k);
  if (!(threshold >= 0 && threshold <= 1)) {
    throw new EvaluationError('BAD_OPTION', `gPassAtK: threshold is ${threshold}; it must be from 0 to 1.`);
  }
  return ofCounts(`g-pass@${k}_${threshold}`, k, (n, c) => hypergeometricTail(n, c, k, atLeast(k * threshold)));
}

/**
 * mG-Pass@k (arXiv 2412.13147): G-Pass@k_τ averaged over τ from ½ to 1, (2/k) Σ_{i = ⌈k/2⌉+1..k} G-Pass@k_{i/k}: how much of the ability is there every time.
 * At k = 1 it is 0, as the sum is empty.
 */
export function meanGPassAtK(k: number): SampleMetric {
  assertSubsetSize('meanGPassAtK', k);
  return ofCounts(`mg-pass@${k}`, k, (n, c) => {
    let sum = 0;
    for (let i = Math.ceil(k / 2) + 1; i <= k; i++) sum += hypergeometricTail(n, c, k, i);
    return (2 * sum) / k;
  });
}

/** 0.7 · 10 is 7, whatever the last digit of its double. */
const atLeast = (count: number): number => Math.max(Math.ceil(count - 1e-9), 1);

const ofCounts = (name: string, k: number, value: (n: number, c: number) => number): SampleMetric =>
  metricOfGraded(name, k, (problem) => {
    const scores = binaryScores(name, problem);
    return value(scores.length, scores.filter((x) => x === 1).length);
  });
