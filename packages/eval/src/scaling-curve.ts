import { assertArgument, options as declare, integer, listOf, oneOf, text } from '@posttrain/interfaces';
import { MOST_SAMPLES } from '@posttrain/interfaces/estimators';
import { EvaluationError } from './errors.js';
import type { EvalResult, GenerateProblem } from './log/format.js';
import { bestAtK } from './metrics/best-at-k.js';
import { aggregate, gradedProblems } from './metrics/compute-metrics.js';
import { majorityVoteAt } from './metrics/majority-at-k.js';
import { passAtK } from './metrics/pass-at-k.js';
import { isEnumerated, weightedBestAtK } from './metrics/weighted-best-at-k.js';
import { meanTokensPerSample, powersOfTwo } from './samples-curve.js';
import type { SampledProblem, SampleMetric } from './task.js';

const STRATEGIES = ['best-of-n', 'weighted-best-of-n', 'majority-vote', 'pass@k'] as const;

/** `pass@k` is what a perfect verifier would reach. */
export type ScalingStrategy = (typeof STRATEGIES)[number];

const curveOptions = declare('scalingCurve', {
  strategies: listOf(oneOf(STRATEGIES, {}), { optional: true }),
  ks: listOf(integer({ min: 1 }), { optional: true }),
  seed: integer({ default: 0, min: 0 }),
  resamples: integer({ default: 1000, min: 1 }),
  grader: text({ optional: true }),
  verifier: text({ optional: true }),
});

/** Options of `scalingCurve`. */
export interface ScalingCurveOptions {
  /** Default: all that the samples allow. */
  readonly strategies?: readonly ScalingStrategy[];
  /** Numbers of samples. Default: the powers of two below N, and N (the least N of all problems). */
  readonly ks?: readonly number[];
  /** Of the subsets drawn where there are too many to try all. Default 0. */
  readonly seed?: number;
  /** Most subsets tried per problem and k where there is no closed form. Default 1000. */
  readonly resamples?: number;
  /** Who says what is right. Default: the task's first grader. */
  readonly grader?: string;
  /** Whose scores best-of-N and weighted best-of-N choose by. Default: the task's first verifier. */
  readonly verifier?: string;
}

/** One point of a curve. */
export interface ScalingRow {
  readonly strategy: ScalingStrategy;
  /** Samples per problem. */
  readonly k: number;
  /** Mean over the problems that have k graded samples; `null` when none has. */
  readonly accuracy: number | null;
  /** Of `accuracy` over problems, or over their clusters. `null` with fewer than two. */
  readonly standardError: number | null;
  /** Completion tokens per problem: k times the mean length of the problem's samples, averaged over problems. */
  readonly meanTokens: number;
  /** Verifier calls per problem. */
  readonly verifierCalls: number;
  /** How many problems `accuracy` is the mean of. */
  readonly problems: number;
  /**
   * How each problem's accuracy over its k-subsets was found: `closed-form`, `enumerated` (every subset tried) or
   * `subsampled` (`resamples` random subsets; their noise is part of the standard error).
   */
  readonly estimator: 'closed-form' | 'enumerated' | 'subsampled';
}

/**
 * Accuracy against samples and tokens, for every strategy and every k ≤ N, from one evaluation with N samples per problem
 * (or from samples drawn elsewhere). Each point averages over all subsets of k samples, not the first k. The strategies are
 * the metrics `bestAtK`, `weightedBestAtK`, `majorityAtK` and `passAtK`: what cannot be graded, chosen or voted for is
 * treated as they do, that is as `bestOfN`, `weightedBestOfN` and `majorityVote` of `@posttrain/tts` would. Where the same
 * answer is right in one sample and wrong in another, a vote for it counts with its mean.
 *
 * @throws OptionError; EvaluationError `BAD_SAMPLES` for missing scores, problems without samples and N > 1000
 */
export function scalingCurve(
  measured: EvalResult<GenerateProblem> | readonly SampledProblem[],
  options: ScalingCurveOptions = {},
): ScalingRow[] {
  const list = Array.isArray(measured) ? measured : (measured as Partial<EvalResult> | undefined)?.problems;
  const isResult = Array.isArray(list) && (list !== measured || list.every((it) => Array.isArray(it?.samples)));
  const kinds = 'what evaluate gives of a task that is generated, or a list of { id, samples }';
  assertArgument('scalingCurve', 'measured', measured, isResult, kinds);
  const { strategies, ks: given, seed, resamples, grader, verifier } = curveOptions.read(options);
  const problems = 'problems' in measured ? gradedProblems(measured.problems, grader) : measured;
  const least = checkedProblems(problems);
  const ks = given ?? [...powersOfTwo(least - 1), least];
  const most = Math.max(...ks);
  if (most > least) throw bad(`k = ${most}, but a problem has only ${least} samples.`);
  const by = verifier ?? Object.keys(problems[0]!.samples[0]!.verifierScores)[0] ?? 'verifier';
  const can = allowed(problems, by);
  for (const strategy of strategies ?? []) {
    if (needsScores(strategy) && !can.choose) {
      throw bad(`${strategy} needs a score (or null) by a verifier for every sample.`);
    }
  }
  const wanted = strategies ?? STRATEGIES.filter((strategy) => isAllowed(strategy, can));
  const metricAt: Readonly<Record<ScalingStrategy, (k: number) => SampleMetric>> = {
    'best-of-n': (k) => bestAtK(k, { by }),
    'weighted-best-of-n': (k) => weightedBestAtK(k, { by, seed, resamples }),
    'majority-vote': (k) => majorityVoteAt(k, 'mean'),
    'pass@k': passAtK,
  };
  const tokens = meanTokensPerSample(problems);
  return wanted.flatMap((strategy) =>
    ks.map((k): ScalingRow => {
      const { value, standardError, count } = aggregate(metricAt[strategy](k), problems, problems);
      const isTried = problems.every(({ samples }) => isEnumerated(samples.length, k, resamples));
      return {
        ...{ strategy, k, accuracy: value, standardError, meanTokens: k * tokens },
        verifierCalls: needsScores(strategy) ? k : 0,
        problems: count,
        estimator: strategy !== 'weighted-best-of-n' ? 'closed-form' : isTried ? 'enumerated' : 'subsampled',
      };
    }),
  );
}

/** Throws on samples no curve can be drawn from; returns the least number of samples of a problem. */
function checkedProblems(problems: readonly SampledProblem[]): number {
  if (problems.length === 0) throw bad('no problems.');
  for (const { id, samples } of problems) {
    if (samples.length < 1 || samples.length > MOST_SAMPLES) {
      throw bad(`problem "${id}" has ${samples.length} samples; it must have 1 to ${MOST_SAMPLES}.`);
    }
    samples.forEach(({ verifierScores, completionTokens }, i) => {
      const odd = Object.values(verifierScores).find((score) => score !== null && !Number.isFinite(score));
      if (odd !== undefined) throw bad(`problem "${id}", sample ${i}: the score is ${odd}.`);
      if (Number.isSafeInteger(completionTokens) && completionTokens >= 0) return;
      throw bad(`problem "${id}", sample ${i}: completionTokens is ${completionTokens}; it must be a whole number.`);
    });
  }
  return Math.min(...problems.map(({ samples }) => samples.length));
}

/** What the samples allow: votes need answers, choices scores, pass@k right or wrong. */
function allowed(problems: readonly SampledProblem[], by: string) {
  const samples = problems.flatMap((problem) => problem.samples);
  return {
    choose: samples.every(({ verifierScores }) => verifierScores[by] !== undefined),
    vote: samples.every(({ answer }) => answer !== undefined),
    pass: samples.every(({ score }) => score === null || score === 0 || score === 1),
  };
}

function isAllowed(strategy: ScalingStrategy, can: ReturnType<typeof allowed>): boolean {
  if (strategy === 'pass@k') return can.pass;
  return (can.choose || !needsScores(strategy)) && (can.vote || strategy === 'best-of-n');
}

function needsScores(strategy: ScalingStrategy): boolean {
  return strategy === 'best-of-n' || strategy === 'weighted-best-of-n';
}

function bad(problem: string): EvaluationError {
  return new EvaluationError('BAD_SAMPLES', `scalingCurve: ${problem}`);
}
