import { EvaluationError } from '../errors.js';
import { assertFinite } from './standard-error.js';

/** An area under the ROC curve and how well it is known. */
export interface AurocEstimate {
  /** P(positive > negative) + ½ P(equal), of one drawn from each. */
  readonly value: number;
  /** DeLong's; `null` with fewer than two positives or negatives. */
  readonly standardError: number | null;
  /** value ± 1.96 standard errors; `null` without one, and with one of 0. */
  readonly interval: readonly [low: number, high: number] | null;
}

/**
 * Area under the ROC curve of scores that should be higher for positives, with the standard error of DeLong et al.
 * (1988): with V(x) the share of negatives below a positive x (ties count half) and W(y) that of positives above a
 * negative y, √(var V / m + var W / n).
 *
 * @throws EvaluationError `UNPAIRED` for other numbers of scores and labels, or labels of one kind only; `NOT_FINITE`
 */
export function auroc(scores: readonly number[], isPositive: readonly boolean[]): AurocEstimate {
  const { positives, negatives } = split('auroc', scores, isPositive);
  const above = positives.map((x) => shareBelow(negatives, x));
  const below = negatives.map((y) => 1 - shareBelow(positives, y));
  const value = meanOf(above);
  const isKnown = positives.length > 1 && negatives.length > 1;
  const error = isKnown ? Math.sqrt(varianceOf(above) / positives.length + varianceOf(below) / negatives.length) : null;
  const interval = error === null || error === 0 ? null : ([value - 1.96 * error, value + 1.96 * error] as const);
  return { value, standardError: error, interval };
}

/**
 * The share of positives above the lowest threshold that at most `falsePositiveRate` of the negatives lie above: what
 * an attack on privacy is worth where it must hardly ever be wrong (arXiv 2112.03570).
 *
 * @throws EvaluationError as `auroc`; `BAD_RATE` for a rate outside 0 to 1
 */
export function truePositiveRate(
  scores: readonly number[],
  isPositive: readonly boolean[],
  falsePositiveRate: number,
): number {
  if (!(falsePositiveRate >= 0 && falsePositiveRate <= 1)) {
    const problem = `falsePositiveRate is ${falsePositiveRate}; it must be a number from 0 to 1.`;
    throw new EvaluationError('BAD_RATE', `truePositiveRate: ${problem}`);
  }
  const { positives, negatives } = split('truePositiveRate', scores, isPositive);
  const allowed = Math.floor(falsePositiveRate * negatives.length);
  const threshold = negatives[negatives.length - 1 - allowed] ?? Number.NEGATIVE_INFINITY;
  return positives.filter((x) => x > threshold).length / positives.length;
}

/** Both kinds in ascending order. */
function split(where: string, scores: readonly number[], isPositive: readonly boolean[]) {
  const of = (kind: boolean) => scores.filter((_, i) => isPositive[i] === kind).sort((a, b) => a - b);
  const [positives, negatives] = [of(true), of(false)];
  if (scores.length !== isPositive.length || positives.length === 0 || negatives.length === 0) {
    const counts = `${scores.length} scores with ${positives.length} positives and ${negatives.length} negatives`;
    throw new EvaluationError('UNPAIRED', `${where} needs a label for each score and both kinds, but got ${counts}.`);
  }
  assertFinite(`${where}:`, scores);
  return { positives, negatives };
}

/** Share of ascending values below x, of equal ones the half. */
function shareBelow(ascending: readonly number[], x: number): number {
  return (firstWhere(ascending, (y) => y >= x) + firstWhere(ascending, (y) => y > x)) / (2 * ascending.length);
}

/** Index of the first value of an ascending list that the test holds for, as it does for all after it. */
function firstWhere(ascending: readonly number[], test: (value: number) => boolean): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (test(ascending[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}

const meanOf = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;

function varianceOf(values: readonly number[]): number {
  const mean = meanOf(values);
  return values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1);
}
