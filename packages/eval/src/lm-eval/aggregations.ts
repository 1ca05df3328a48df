import { showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { type MeanEstimate, mean, meanWithStandardError, Z_95 } from '../statistics/standard-error.js';
import { lmEvalBootstrap } from './bootstrap.js';

/** What a metric has of one problem: a number, or a pair that an aggregation reads ([gold, prediction], [log-likelihood, words]). */
export type LmEvalValue = number | readonly unknown[];

interface Aggregation {
  /** What the values must be. */
  readonly of: 'numbers' | 'pairs';
  aggregate(values: readonly never[]): number;
  /** How the harness gets a standard error: s/√n, by bootstrap, or not at all. */
  readonly standardError: 'sample' | 'bootstrap' | 'none';
  /** One problem's share, for logs and curves. */
  alone(value: never): number;
}

type Pair = readonly [number, number];
const ratio = (pairs: readonly Pair[]): number =>
  pairs.reduce((sum, [a]) => sum + a, 0) / pairs.reduce((sum, [, b]) => sum + b, 0);
const isRight = ([gold, predicted]: Pair): number => Number(gold === predicted);

/** Σ over classes of (p − 1[class = gold])². */
const brier = ([gold, probabilities]: readonly [number, readonly number[]]): number =>
  probabilities.reduce((sum, p, i) => sum + (p - Number(i === gold)) ** 2, 0);

/** F1 of class 1, as scikit-learn's `f1_score` of two classes. */
function binaryF1(pairs: readonly Pair[]): number {
  if (pairs.some((pair) => pair.some((label) => label !== 0 && label !== 1)))
    throw new EvaluationError(
      'LM_EVAL_TASK',
      'f1: labels are 0 and 1; scikit-learn refuses others without an average.',
    );
  const both = pairs.filter(([gold, predicted]) => gold === 1 && predicted === 1).length;
  const either = pairs.reduce((sum, [gold, predicted]) => sum + gold + predicted, 0);
  return either === 0 ? 0 : (2 * both) / either;
}

/** Matthews' correlation of any number of classes (R_K of Gorodkin 2004), as scikit-learn: 0 where it is not defined. */
function matthews(pairs: readonly Pair[]): number {
  const classes = [...new Set(pairs.flat())];
  const right = pairs.filter(([gold, predicted]) => gold === predicted).length;
  const counts = classes.map(
    (of) => [0, 1].map((side) => pairs.filter((pair) => pair[side] === of).length) as unknown as Pair,
  );
  const n = pairs.length;
  const product = counts.reduce((sum, [t, p]) => sum + t * p, 0);
  const golds = n * n - counts.reduce((sum, [t]) => sum + t * t, 0);
  const predictions = n * n - counts.reduce((sum, [, p]) => sum + p * p, 0);
  return golds * predictions === 0 ? 0 : (right * n - product) / Math.sqrt(golds * predictions);
}

const meanOf: Aggregation = { of: 'numbers', aggregate: mean, standardError: 'sample', alone: (value) => value };

/** Aggregations of lm-evaluation-harness by name. `bleu`, `chrf` and `ter` are functions that the user gives. */
export const lmEvalAggregations = {
  mean: meanOf,
  nanmean: { ...meanOf, standardError: 'bootstrap' },
  median: {
    ...meanOf,
    aggregate: (values: readonly number[]) => values[Math.floor(values.length / 2)]!,
    standardError: 'bootstrap',
  },
  perplexity: {
    of: 'numbers',
    aggregate: (values: readonly number[]) => Math.exp(-mean(values)),
    standardError: 'bootstrap',
    alone: (value: number) => Math.exp(-value),
  },
  weighted_perplexity: {
    of: 'pairs',
    aggregate: (pairs: readonly Pair[]) => Math.exp(-ratio(pairs)),
    standardError: 'none',
    alone: (pair: Pair) => Math.exp(-ratio([pair])),
  },
  bits_per_byte: {
    of: 'pairs',
    aggregate: (pairs: readonly Pair[]) => -ratio(pairs) / Math.LN2,
    standardError: 'none',
    alone: (pair: Pair) => -ratio([pair]) / Math.LN2,
  },
  f1: { of: 'pairs', aggregate: binaryF1, standardError: 'bootstrap', alone: isRight },
  matthews_corrcoef: { of: 'pairs', aggregate: matthews, standardError: 'bootstrap', alone: isRight },
  brier_score: {
    of: 'pairs',
    aggregate: (pairs: readonly (readonly [number, readonly number[]])[]) => mean(pairs.map(brier)),
    standardError: 'none',
    alone: brier,
  },
} as const satisfies Readonly<Record<string, Aggregation>>;

export type LmEvalAggregationName = keyof typeof lmEvalAggregations;

/** An aggregation that the user gives, of what the metric has of each problem. Its standard error is not known. */
export const ownAggregation = (aggregate: (values: readonly LmEvalValue[]) => number): Aggregation => ({
  of: 'pairs',
  aggregate: aggregate as (values: readonly never[]) => number,
  standardError: 'none',
  alone: (value: LmEvalValue) => (typeof value === 'number' ? value : 0),
});

export type { Aggregation as LmEvalAggregation };

/** One problem's share of a metric. @throws EvaluationError `LM_EVAL_TASK` for what the aggregation cannot read */
export function shareOf(aggregation: Aggregation, metric: string, value: LmEvalValue): number {
  if (aggregation.of === 'numbers' && typeof value !== 'number')
    throw new EvaluationError(
      'LM_EVAL_TASK',
      `${metric}: the mean needs a number of each problem, not ${showValue(value)}.`,
    );
  return aggregation.alone(value as never);
}

/** The aggregate of all problems with the standard error that lm-evaluation-harness gives it; the interval is ± 1.96 of them. */
export function aggregateValues(
  aggregation: Aggregation,
  values: readonly LmEvalValue[],
  iterations: number,
): MeanEstimate {
  const count = values.length;
  if (count === 0) return { value: null, standardError: null, interval: null, count };
  const of = (some: readonly LmEvalValue[]) => aggregation.aggregate(some as readonly never[]);
  if (aggregation.standardError === 'sample') return meanWithStandardError(values as readonly number[]);
  const value = of(values);
  const standardError = aggregation.standardError === 'none' ? null : lmEvalBootstrap(values, iterations, of);
  const isKnown = standardError !== null && standardError > 0;
  return {
    value,
    standardError,
    interval: isKnown ? [value - Z_95 * standardError, value + Z_95 * standardError] : null,
    count,
  };
}
