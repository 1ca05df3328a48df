import { assertArgument, assertKnownOptions } from '@posttrain/interfaces';
import { binomial, MOST_SAMPLES, passAtK } from '@posttrain/interfaces/estimators';
import { assertInteger, InvalidArgumentError } from './errors.js';
import {
  bestOfKAccuracy,
  forEachSubset,
  type LabelledSample,
  majorityAccuracies,
  weightedSubsetAccuracy,
} from './subset-accuracy.js';
import { assertWeight } from './weighted-best-of-n.js';

/** One of the N samples of a problem. */
export interface ScalingSample extends LabelledSample {
  readonly completionTokens: number;
}

/** The N samples of one problem. */
export interface ProblemSamples {
  readonly samples: readonly ScalingSample[];
}

const STRATEGIES = ['best-of-n', 'weighted-best-of-n', 'majority-vote', 'pass@k'] as const;

/** `pass@k` is what a perfect verifier would reach. */
export type ScalingStrategy = (typeof STRATEGIES)[number];

export interface ScalingCurveOptions {
  /** Default: `majority-vote` and `pass@k`, and the two with scores when the samples have been verified. */
  readonly strategies?: readonly ScalingStrategy[];
  /** Numbers of samples. Default: the powers of two below N, and N (the least N of all problems). */
  readonly ks?: readonly number[];
  /** Of the subsets drawn where there are too many to try all. Default 0. */
  readonly seed?: number;
  /** Most subsets tried per problem and k where there is no closed form. Default 1000. */
  readonly resamples?: number;
}

/** One point of a curve. */
export interface ScalingRow {
  readonly strategy: ScalingStrategy;
  /** Samples per problem. */
  readonly k: number;
  /** Mean over problems. */
  readonly accuracy: number;
  /** Of `accuracy` over problems: standard deviation (ddof 1) / √problems. `null` with a single problem. */
  readonly standardError: number | null;
  /** Completion tokens per problem: k times the mean length of the problem's samples, averaged over problems. */
  readonly meanTokens: number;
  /** Verifier calls per problem. */
  readonly verifierCalls: number;
  readonly problems: number;
  /**
   * How each problem's accuracy over its k-subsets was found: `closed-form`, `enumerated` (every subset tried) or
   * `subsampled` (`resamples` random subsets; their noise is part of the standard error).
   */
  readonly estimator: 'closed-form' | 'enumerated' | 'subsampled';
}

/**
 * Accuracy against samples and tokens, for every strategy and every k ≤ N from one run of N samples per problem. Each
 * point averages over all subsets of k samples, not the first k. Best-of-N, majority vote and pass@k are exact in
 * closed form; weighted best-of-N has none and is enumerated where C(N, k) ≤ `resamples`, else subsampled with a seed.
 * Strategies treat `null` answers and scores as `bestOfN`, `weightedBestOfN` and `majorityVote` do; a subset that
 * leaves nothing to choose from counts as wrong. Throws `InvalidArgumentError` on missing scores, empty problems,
 * negative weights and N > 1000.
 */
export function scalingCurve(problems: readonly ProblemSamples[], options: ScalingCurveOptions = {}): ScalingRow[] {
  assertKnownOptions('scalingCurve', options, ['strategies', 'ks', 'seed', 'resamples']);
  const least = checkedProblems(problems);
  const { seed = 0, resamples = 1000, ks = powersOfTwo(least) } = options;
  assertInteger('scalingCurve: seed', seed, 0);
  assertInteger('scalingCurve: resamples', resamples, 1);
  for (const k of ks) {
    assertInteger('scalingCurve: ks', k, 1);
    if (k > least) {
      throw new InvalidArgumentError(`scalingCurve: k = ${k}, but a problem has only ${least} samples.`);
    }
  }
  const verified = problems.every(({ samples }) => samples.every(({ score }) => score !== undefined));
  const strategies = options.strategies ?? STRATEGIES.filter((name) => verified || !needsScores(name));
  return strategies.flatMap((strategy) => {
    if (!STRATEGIES.includes(strategy)) {
      throw new InvalidArgumentError(`scalingCurve: no strategy "${strategy}"; there are ${STRATEGIES.join(', ')}.`);
    }
    if (needsScores(strategy) && !verified) {
      throw new InvalidArgumentError(`scalingCurve: ${strategy} needs a score (or null) for every sample.`);
    }
    const { accuracies, estimators } = problemAccuracies(strategy, problems, ks, seed, resamples);
    return ks.map((k, i) => ({
      strategy,
      k,
      ...meanAndStandardError(accuracies.map((ofProblem) => ofProblem[i]!)),
      meanTokens: mean(problems.map(({ samples }) => k * mean(samples.map((sample) => sample.completionTokens)))),
      verifierCalls: needsScores(strategy) ? k : 0,
      problems: problems.length,
      estimator: estimators[i]!,
    }));
  });
}

/** `accuracies[problem][index of k]`, and how they were found. */
function problemAccuracies(
  strategy: ScalingStrategy,
  problems: readonly ProblemSamples[],
  ks: readonly number[],
  seed: number,
  resamples: number,
): { accuracies: number[][]; estimators: ScalingRow['estimator'][] } {
  const closedForm = ks.map(() => 'closed-form' as const);
  switch (strategy) {
    case 'pass@k':
      return {
        accuracies: problems.map(({ samples }) => {
          const right = samples.filter(({ correct }) => correct).length;
          return ks.map((k) => passAtK(samples.length, right, k));
        }),
        estimators: closedForm,
      };
    case 'best-of-n':
      return {
        accuracies: problems.map(({ samples }) => ks.map((k) => bestOfKAccuracy(samples, k))),
        estimators: closedForm,
      };
    case 'majority-vote':
      return {
        accuracies: problems.map(({ samples }) => majorityAccuracies(samples, ks)),
        estimators: closedForm,
      };
    case 'weighted-best-of-n': {
      const few = (n: number, k: number) => binomial(n, k) <= resamples;
      const uniform = mulberry32(seed);
      return {
        accuracies: problems.map(({ samples }, p) => {
          for (const { score } of samples) {
            if (typeof score === 'number') assertWeight(`scalingCurve: problem ${p}`, score);
          }
          return weightedAccuracies(samples, ks, resamples, few, uniform);
        }),
        estimators: ks.map((k) =>
          problems.every(({ samples }) => few(samples.length, k)) ? 'enumerated' : 'subsampled',
        ),
      };
    }
  }
}

function weightedAccuracies(
  samples: readonly ScalingSample[],
  ks: readonly number[],
  resamples: number,
  few: (n: number, k: number) => boolean,
  uniform: () => number,
): number[] {
  const accuracyOf = weightedSubsetAccuracy(samples);
  const order = Int32Array.from(samples, (_, i) => i);
  return ks.map((k) => {
    let sum = 0;
    if (few(samples.length, k)) {
      forEachSubset(samples.length, k, (subset) => {
        sum += accuracyOf(subset, k);
      });
      return sum / binomial(samples.length, k);
    }
    for (let draw = 0; draw < resamples; draw++) {
      for (let i = 0; i < k; i++) {
        const j = i + Math.floor(uniform() * (order.length - i));
        const swap = order[i]!;
        order[i] = order[j]!;
        order[j] = swap;
      }
      sum += accuracyOf(order, k);
    }
    return sum / resamples;
  });
}

/** Throws on samples no curve can be drawn from; returns the least number of samples of a problem. */
function checkedProblems(problems: readonly ProblemSamples[]): number {
  const isList =
    Array.isArray(problems) &&
    problems.every((problem) => Array.isArray((problem as Partial<ProblemSamples> | null)?.samples));
  assertArgument('scalingCurve', 'problems', problems, isList, 'a list of { samples }, as drawSamples gives it');
  if (problems.length === 0) throw new InvalidArgumentError('scalingCurve: no problems.');
  problems.forEach(({ samples }, p) => {
    if (samples.length < 1 || samples.length > MOST_SAMPLES) {
      throw new InvalidArgumentError(
        `scalingCurve: problem ${p} has ${samples.length} samples; it must have 1 to ${MOST_SAMPLES}.`,
      );
    }
    samples.forEach(({ score, completionTokens }, i) => {
      if (typeof score === 'number' && !Number.isFinite(score)) {
        throw new InvalidArgumentError(`scalingCurve: problem ${p}, sample ${i}: the score is ${score}.`);
      }
      assertInteger(`scalingCurve: problem ${p}, sample ${i}: completionTokens`, completionTokens, 0);
    });
  });
  return Math.min(...problems.map(({ samples }) => samples.length));
}

function needsScores(strategy: ScalingStrategy): boolean {
  return strategy === 'best-of-n' || strategy === 'weighted-best-of-n';
}

function powersOfTwo(n: number): number[] {
  const ks: number[] = [];
  for (let k = 1; k < n; k *= 2) ks.push(k);
  return [...ks, n];
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function meanAndStandardError(values: readonly number[]): { accuracy: number; standardError: number | null } {
  const accuracy = mean(values);
  if (values.length < 2) return { accuracy, standardError: null };
  const variance = values.reduce((sum, value) => sum + (value - accuracy) ** 2, 0) / (values.length - 1);
  return { accuracy, standardError: Math.sqrt(variance / values.length) };
}

/** Mulberry32: uniform numbers in [0, 1) from a 32-bit seed. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
