import { EvaluationError } from '../errors.js';
import { type MeanEstimate, meanWithStandardError, Z_95 } from '../statistics/standard-error.js';

/** One completion in a comparison, as a judge and people saw it. */
export interface JudgedSide {
  /** Whether the judge wrote it. */
  readonly isOwn: boolean;
  /** 1: the judge preferred it; 0: the other; ½: neither. */
  readonly preferred: number;
  /** The same of people, or of a checker. */
  readonly gold: number;
}

/** How a judge treats its own completions and others'. */
export interface SelfPreference {
  /** P(judge prefers | its own, people prefer) − P(judge prefers | another's, people prefer). 0: it treats both alike. */
  readonly bias: MeanEstimate;
  readonly own: MeanEstimate;
  readonly others: MeanEstimate;
}

/**
 * Self-preference bias as a difference of equal opportunity (arXiv 2410.21819 §3): with S whether the judge wrote a completion, Y whether people
 * prefer it and Y′ whether the judge does, P(Y′ = 1 | S = 1, Y = 1) − P(Y′ = 1 | S = 0, Y = 1). A judge that writes better answers is so not
 * called biased for saying so. The judge's ties count half; people's ties are left out.
 *
 * @throws EvaluationError `NO_RECORDS` where people prefer none of its own, or none of the others'
 */
export function selfPreference(sides: readonly JudgedSide[]): SelfPreference {
  const of = (isOwn: boolean): MeanEstimate =>
    meanWithStandardError(
      sides.filter((side) => side.isOwn === isOwn && side.gold === 1).map(({ preferred }) => preferred),
    );
  const [own, others] = [of(true), of(false)];
  if (own.count === 0 || others.count === 0) {
    const problem = `people prefer ${own.count} of the judge's own and ${others.count} of others' completions; some of each are needed`;
    throw new EvaluationError('NO_RECORDS', `selfPreference: ${problem}.`);
  }
  return { bias: differenceOfMeans(own, others), own, others };
}

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
