import type { EvalResult, GenerateProblem } from './log/format.js';
import { gradedProblems, sampleMetrics } from './metrics/compute-metrics.js';
import { mean } from './statistics/standard-error.js';
import type { SampledProblem, SampleMetric } from './task.js';

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
 * Its points are unbiased, and correlated: they are estimates from the same samples.
 */
export function samplesCurve(
  result: EvalResult<GenerateProblem>,
  metricAt: (k: number) => SampleMetric,
  ks: readonly number[] = powersOfTwo(result.config.samples ?? 1),
  grader?: string,
): SamplesCurvePoint[] {
  const perSample = result.problems.length > 0 ? meanTokensPerSample(gradedProblems(result.problems, grader)) : 0;
  const metrics = sampleMetrics(result.problems, ks.map(metricAt), grader);
  return metrics.map(({ value, standardError }, i) => ({
    k: ks[i]!,
    tokens: perSample * ks[i]!,
    value,
    standardError,
  }));
}

/** Mean over problems of the mean completion tokens of a problem's samples. */
export function meanTokensPerSample(problems: readonly SampledProblem[]): number {
  return mean(problems.map(({ samples }) => mean(samples.map(({ completionTokens }) => completionTokens))));
}

/** 1, 2, 4, … up to `limit`. */
export function powersOfTwo(limit: number): number[] {
  const ks: number[] = [];
  for (let k = 1; k <= limit; k *= 2) ks.push(k);
  return ks;
}
