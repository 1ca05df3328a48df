import { EvaluationError } from '../errors.js';
import { wilsonInterval } from './proportion-intervals.js';

/** A mean and how well it is known. */
export interface MeanEstimate {
  /** `null` when nothing was measured. */
  readonly value: number | null;
  /** `null` when it cannot be estimated: fewer than two independent units. */
  readonly standardError: number | null;
  /**
   * 95 % interval: Wilson's for independent 0/1 values that are no differences, else value ± 1.96 standard errors; `null` without a standard error,
   * and with one of 0, as values without spread do not say how well their mean is known.
   */
  readonly interval: readonly [low: number, high: number] | null;
  /** Number of values. */
  readonly count: number;
}

/** The 97.5 % quantile of the standard normal distribution. */
export const Z_95 = 1.959963984540054;

/**
 * Mean of `values` with its standard error: s/√n with s² = Σ(x−x̄)²/(n−1), or, when `clusters` names a cluster per
 * value, the cluster-robust √(Σ_c (Σ_{i∈c} (x_i−x̄))² · C/(C−1)) / n (Miller 2024, arXiv 2411.00640; as inspect_ai).
 * With every value in its own cluster both agree.
 * @throws EvaluationError `BAD_CLUSTERS`, `NOT_FINITE`
 */
export const meanWithStandardError = (values: readonly number[], clusters?: readonly string[]): MeanEstimate =>
  estimateMean('meanWithStandardError', values, clusters, true);

/**
 * `meanWithStandardError` of differences, such as of two arms' seeds or problems. Those of 0/1 values are -1, 0 and 1, and no proportion even where none
 * is -1: the interval is always the mean ± 1.96 standard errors, and `null` where all differ alike.
 * @throws EvaluationError `BAD_CLUSTERS`, `NOT_FINITE`
 */
export const meanDifference = (differences: readonly number[], clusters?: readonly string[]): MeanEstimate =>
  estimateMean('meanDifference', differences, clusters, false);

function estimateMean(
  where: string,
  values: readonly number[],
  clusters: readonly string[] | undefined,
  mayBeProportion: boolean,
): MeanEstimate {
  if (clusters && clusters.length !== values.length) {
    throw new EvaluationError(
      'BAD_CLUSTERS',
      `${clusters.length} clusters for ${values.length} values: give one per value.`,
    );
  }
  assertFinite(`${where}:`, values);
  const count = values.length;
  if (count === 0) return { value: null, standardError: null, interval: null, count };
  const value = mean(values);
  const residuals = new Map<string | number, number>();
  values.forEach((x, i) => {
    const cluster = clusters ? clusters[i]! : i;
    residuals.set(cluster, (residuals.get(cluster) ?? 0) + (x - value));
  });
  const units = residuals.size;
  if (units < 2) return { value, standardError: null, interval: null, count };
  let squares = 0;
  for (const residual of residuals.values()) squares += residual * residual;
  const standardError = Math.sqrt((squares * units) / (units - 1)) / count;
  if (!Number.isFinite(value + standardError)) {
    throw new EvaluationError('NOT_FINITE', `${where}: the values are too large for their squares to be numbers.`);
  }
  const independentBinary = mayBeProportion && units === count && values.every((x) => x === 0 || x === 1);
  const interval = independentBinary
    ? wilsonInterval(Math.round(value * count), count)
    : isRounding(standardError, values)
      ? null
      : ([value - Z_95 * standardError, value + Z_95 * standardError] as const);
  return { value, standardError, interval, count };
}

/**
 * Σ numerators / Σ denominators with the standard error of a ratio estimator (delta method): with residuals e_i = a_i − r·b_i, √(Σ_c (Σ_{i∈c} e_i)² · C/(C−1)) / Σ b.
 * With all denominators 1 it is `meanWithStandardError`. The interval is value ± 1.96 standard errors.
 * @throws EvaluationError `NOT_FINITE`; `BAD_COUNT` for other numbers of the two, and for denominators that are not above 0
 */
export function ratioWithStandardError(
  numerators: readonly number[],
  denominators: readonly number[],
  clusters?: readonly string[],
): MeanEstimate {
  const count = numerators.length;
  if (denominators.length !== count || denominators.some((x) => !(x > 0)))
    throw new EvaluationError(
      'BAD_COUNT',
      'ratioWithStandardError: it needs a denominator above 0 for each numerator.',
    );
  assertFinite('ratioWithStandardError: numerators,', numerators);
  if (count === 0) return { value: null, standardError: null, interval: null, count };
  const total = mean(denominators);
  const value = mean(numerators) / total;
  // The mean of the residuals is 0, so theirs is the standard error of a mean.
  const residuals = numerators.map((x, i) => (x - value * denominators[i]!) / total);
  const { standardError } = meanWithStandardError(residuals, clusters);
  const interval =
    standardError === null || isRounding(standardError, [value])
      ? null
      : ([value - Z_95 * standardError, value + Z_95 * standardError] as const);
  return { value, standardError, interval, count };
}

export function mean(values: readonly number[]): number {
  let sum = 0;
  for (const x of values) sum += x;
  return sum / values.length;
}

/** Throws `NOT_FINITE`, naming the first value that is NaN or infinite. */
export function assertFinite(where: string, values: readonly number[]): void {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0) throw new EvaluationError('NOT_FINITE', `${where} value ${at} is ${values[at]}; values must be finite.`);
}

/** Whether a standard error is 0 but for rounding, `values` being what it was computed from. */
export function isRounding(standardError: number, values: readonly number[]): boolean {
  return standardError <= 1e-14 * largest(values);
}

export const largest = (values: readonly number[]): number =>
  values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
