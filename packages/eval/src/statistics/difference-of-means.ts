import { type MeanEstimate, Z_95 } from './standard-error.js';

/** The difference of two means of independent values, with the standard error √(SE₁² + SE₂²). `count` is of both. */
export function differenceOfMeans(one: MeanEstimate, other: MeanEstimate): MeanEstimate {
  const count = one.count + other.count;
  if (one.value === null || other.value === null) return { value: null, standardError: null, interval: null, count };
  const value = one.value - other.value;
  if (one.standardError === null || other.standardError === null)
    return { value, standardError: null, interval: null, count };
  const standardError = Math.hypot(one.standardError, other.standardError);
  const interval = standardError === 0 ? null : ([value - Z_95 * standardError, value + Z_95 * standardError] as const);
  return { value, standardError, interval, count };
}
