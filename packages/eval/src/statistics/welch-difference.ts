import { EvaluationError } from '../errors.js';
import { studentQuantile } from './distributions.js';
import { assertFinite, meanWithStandardError } from './standard-error.js';

/** By how much the means of two samples differ. */
export interface WelchDifference {
  /** The mean of the second less that of the first. */
  readonly value: number;
  readonly standardError: number;
  /** ν of Student's distribution. */
  readonly degrees: number;
  /** 95 % interval. */
  readonly interval: readonly [low: number, high: number];
}

/**
 * Welch's interval for the difference of two means, of samples with variances of their own (Welch 1947): with v = s² / n of each, the standard error is
 * √(v₁ + v₂), with ν = (v₁ + v₂)² / (v₁² / (n₁ − 1) + v₂² / (n₂ − 1)) degrees of freedom. For arms that were trained with different seeds; where the
 * seeds are the same and matter alike, the differences by seed know more.
 *
 * @throws EvaluationError `TOO_FEW_SEEDS` for less than two values of either; `NOT_FINITE`
 */
export function welchDifference(first: readonly number[], second: readonly number[]): WelchDifference {
  if (first.length < 2 || second.length < 2) {
    const got = `${first.length} and ${second.length}`;
    throw new EvaluationError('TOO_FEW_SEEDS', `welchDifference needs 2 values or more of each, but got ${got}.`);
  }
  assertFinite('welchDifference:', [...first, ...second]);
  const [a, b] = [first, second].map((values) => {
    const { value, standardError } = meanWithStandardError(values);
    return { mean: value!, variance: standardError! ** 2, degrees: values.length - 1 };
  }) as [Moments, Moments];
  const value = b.mean - a.mean;
  const variance = a.variance + b.variance;
  const standardError = Math.sqrt(variance);
  // Two samples without spread: any number of degrees gives the same interval, of no width.
  const degrees =
    variance === 0
      ? a.degrees + b.degrees
      : variance ** 2 / (a.variance ** 2 / a.degrees + b.variance ** 2 / b.degrees);
  const reach = studentQuantile(0.975, degrees) * standardError;
  return { value, standardError, degrees, interval: [value - reach, value + reach] };
}

interface Moments {
  readonly mean: number;
  /** Of the mean. */
  readonly variance: number;
  readonly degrees: number;
}
