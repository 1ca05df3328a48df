import type { EvalResult, GenerateProblem } from './log/format.js';
import { sampleMetrics } from './metrics/compute-metrics.js';
import type { SampleMetric } from './task.js';

/** One point of `samplesCurve`. */
export interface SamplesCurvePoint {
  /** Samples per problem. */
  readonly k: number;
  /** Mean generated tokens per problem that k samples cost. */
  readonly tokens: number;
  readonly value: number | null;
  readonly standardError: number | null;
}

/**
 * A metric against the number of samples, all from one run with n samples per problem: `samplesCurve(result, majorityAtK)`.
 * Its points are unbiased, and correlated, as they come from the same samples.
 */
export function samplesCurve(
  result: EvalResult<GenerateProblem>,
  metricAt: (k: number) => SampleMetric,
  ks: readonly number[] = powersOfTwo(result.config.samples ?? 1),
  grader?: string,
): SamplesCurvePoint[] {
  const completions = result.problems.flatMap((problem) => problem.completions);
  const perSample =
    completions.reduce((sum, { usage }) => sum + usage.completionTokens, 0) / Math.max(1, completions.length);
  const metrics = sampleMetrics(result.problems, ks.map(metricAt), grader);
  return metrics.map(({ value, standardError }, i) => ({
    k: ks[i]!,
    tokens: perSample * ks[i]!,
    value,
    standardError,
  }));
}

function powersOfTwo(limit: number): number[] {
  const ks: number[] = [];
  for (let k = 1; k <= limit; k *= 2) ks.push(k);
  return ks;
}
