import { type Given, integer, number, options } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { normalCdf, normalQuantile } from './distributions.js';

const powerShape = {
  /** Share of problems that the model solves, or its mean score from 0 to 1; the variance between problems is at most p(1−p). Default 0.5, the worst. */
  accuracy: number({ default: 0.5, above: 0, below: 1 }),
  /**
   * How much of the variance two runs share on a problem: the correlation of their scores. 0 is what it is without pairing (other problems for the
   * second run). Default 0.5, a usual value of models that are alike (arXiv 2411.00640 §4.2).
   */
  correlation: number({ default: 0.5, min: 0, below: 1 }),
  /** Share of the variance that lies within a problem (luck of sampling) and falls with samples. Default 0: one greedy answer. */
  within: number({ default: 0, min: 0, max: 1 }),
  /** Samples of a problem, of both runs. Default 1. */
  samples: integer({ default: 1, min: 1 }),
  /** Problems that share a source, on average: with `clusterCorrelation` it widens what is known. Default 1. */
  clusterSize: number({ default: 1, min: 1 }),
  /** Correlation of differences within a source. Default 0. */
  clusterCorrelation: number({ default: 0, min: 0, max: 1 }),
  /** Two-sided rate of false alarms. Default 0.05. */
  alpha: number({ default: 0.05, above: 0, below: 1 }),
};
const problemsOptions = options(
  'problemsNeeded',
  {
    /** The difference of means that shall be seen, as 0.02 for 2 points. */
    difference: number({ above: 0, below: 1 }),
    ...powerShape,
    /** Chance that a difference of this size is found. Default 0.8. */
    power: number({ default: 0.8, above: 0, below: 1 }),
  },
  { bare: 'difference' },
);
/** Options of `problemsNeeded`. */
export type ProblemsNeededOptions = Given<typeof problemsOptions>;

const detectableOptions = options(
  'detectableDifference',
  {
    /** Problems of the run. */
    problems: integer({ min: 2 }),
    ...powerShape,
    /** Chance that a difference of this size is found. Default 0.8. */
    power: number({ default: 0.8, above: 0, below: 1 }),
  },
  { bare: 'problems' },
);
/** Options of `detectableDifference`. */
export type DetectableDifferenceOptions = Given<typeof detectableOptions>;

const chanceOptions = options('powerOf', {
  problems: integer({ min: 2 }),
  difference: number({ above: 0, below: 1 }),
  ...powerShape,
});
/** Options of `powerOf`. */
export type PowerOptions = Given<typeof chanceOptions>;

/** How many problems a comparison takes. */
export interface PowerPlan {
  /** With the same problems for both runs, compared pair by pair. */
  readonly paired: number;
  /** With as many problems for each run, compared without pairing. */
  readonly unpaired: number;
  /** The plan in words. */
  readonly statement: string;
}

type Shape = Required<Omit<PowerOptions, 'problems' | 'difference' | 'alpha'>>;

/**
 * How many problems a comparison of two runs needs (arXiv 2411.00640 §5, formula 9):
 *
 *   n = (z_{1−α/2} + z_{power})² (ω² + σ²_A/K + σ²_B/K) / δ²
 *
 * with total variance v = p(1−p) of a score, σ² = `within`·v of it within a problem, and ω² = 2(1 − `correlation`)(v − σ²) of the paired differences; without
 * pairing the correlation is 0. Problems of one source count 1 + (size − 1)·correlation times (Kish's design effect).
 *
 * @throws OptionError
 */
export function problemsNeeded(given: ProblemsNeededOptions): PowerPlan {
  const { difference, alpha, power, ...shape } = problemsOptions.read(given);
  const z = normalQuantile(1 - alpha / 2) + normalQuantile(power);
  const needed = (correlation: number) =>
    Math.max(2, Math.ceil((z * z * varianceOf({ ...shape, correlation })) / (difference * difference) - 1e-9));
  const [paired, unpaired] = [needed(shape.correlation), needed(0)];
  const points = `${Number((100 * difference).toPrecision(3))} points`;
  const statement =
    `To see ${points} with power ${power} at α = ${alpha}: ${paired} problems given to both runs and compared pair by pair, ` +
    `or ${unpaired} for each without pairing.`;
  return { paired, unpaired, statement };
}

/**
 * The smallest difference of two runs that so many problems find with the power asked for: `problemsNeeded` turned round, paired; with `correlation` 0 unpaired.
 *
 * @throws OptionError
 */
export function detectableDifference(given: DetectableDifferenceOptions): number {
  const { problems, alpha, power, ...shape } = detectableOptions.read(given);
  return (normalQuantile(1 - alpha / 2) + normalQuantile(power)) * Math.sqrt(varianceOf(shape) / problems);
}

/**
 * The chance that a difference is found with so many problems: Φ(δ/se − z) + Φ(−δ/se − z).
 *
 * @throws OptionError
 */
export function powerOf(given: PowerOptions): number {
  const { problems, difference, alpha, ...shape } = chanceOptions.read(given);
  const z = normalQuantile(1 - alpha / 2);
  const shift = difference / Math.sqrt(varianceOf(shape) / problems);
  return normalCdf(shift - z) + normalCdf(-shift - z);
}

/** Of one paired difference, as if pairs were independent. */
function varianceOf({ accuracy, correlation, within, samples, clusterSize, clusterCorrelation }: Shape): number {
  const total = accuracy * (1 - accuracy);
  const sampling = within * total;
  const between = 2 * (1 - correlation) * (total - sampling);
  return (between + (2 * sampling) / samples) * (1 + (clusterSize - 1) * clusterCorrelation);
}

/** What two measured runs say of a plan: the correlation of paired scores, and the mean. @throws EvaluationError `UNPAIRED`, `NO_SPREAD` */
export function pilot(
  a: readonly number[],
  b: readonly number[],
): { readonly accuracy: number; readonly correlation: number } {
  if (a.length !== b.length || a.length < 2) {
    throw new EvaluationError('UNPAIRED', `pilot needs two pairs or more, but got ${a.length} and ${b.length} values.`);
  }
  const meanOf = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
  const [ma, mb] = [meanOf(a), meanOf(b)];
  const cross = (x: readonly number[], mx: number, y: readonly number[], my: number) =>
    x.reduce((sum, value, i) => sum + (value - mx) * (y[i]! - my), 0);
  const [aa, bb] = [cross(a, ma, a, ma), cross(b, mb, b, mb)];
  if (aa === 0 || bb === 0) {
    throw new EvaluationError('NO_SPREAD', 'pilot: a run has one value for all problems, which has no correlation.');
  }
  return { accuracy: (ma + mb) / 2, correlation: Math.max(0, cross(a, ma, b, mb) / Math.sqrt(aa * bb)) };
}
