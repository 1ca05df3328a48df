import { EvaluationError } from '../errors.js';
import type { EvalResult, GenerateProblem } from '../log/format.js';
import { type MeanEstimate, meanWithStandardError, ratioWithStandardError } from '../statistics/standard-error.js';

/** What answers cost, and what was cut off. */
export interface Efficiency {
  /** Tokens of a completion. */
  readonly tokens: MeanEstimate;
  /** The same of those that are right (score 1) and of those that are wrong. */
  readonly tokensRight: MeanEstimate;
  readonly tokensWrong: MeanEstimate;
  /** Right answers for 1,000 completion tokens: a ratio of sums. */
  readonly rightPerThousandTokens: MeanEstimate;
  readonly truncation: Truncation;
}

/** Completions that ran into their limit. */
export interface Truncation {
  readonly share: MeanEstimate;
  /** Accuracy as graded, cut ones counting as they were graded. */
  readonly accuracy: MeanEstimate;
  /** Of those that ended by themselves. */
  readonly accuracyEnded: MeanEstimate;
  /** Accuracy if every cut one had been wrong, and if it had been right: what the limit leaves open. */
  readonly bounds: readonly [low: number, high: number] | null;
  /** Cut ones that were graded right all the same. */
  readonly cutRight: number;
}

/**
 * Tokens to an answer, accuracy for tokens, and truncation accounting: how much of an accuracy is a question of the token limit. Problems, or their clusters, are the independent units;
 * completions that could not be graded are left out. What a response spends after its first right answer is `overthinking` of `@posttrain/tts` (arXiv 2412.21187), which is given its rounds.
 *
 * @param grader default: the first
 * @throws EvaluationError `NO_SUCH_GRADER`, `NO_RECORDS` where nothing was graded
 */
export function efficiency(
  { config, problems }: EvalResult<GenerateProblem>,
  grader = config.graders?.[0],
): Efficiency {
  if (grader === undefined || !(config.graders ?? [grader]).includes(grader))
    throw new EvaluationError('NO_SUCH_GRADER', `efficiency: ${config.task} was not graded by "${grader}".`);
  const all = problems.flatMap(({ id, cluster, completions }) =>
    completions.flatMap(({ grades, usage, finishReason }) => {
      const score = grades[grader]?.score ?? null;
      if (score === null) return [];
      const unit = cluster === undefined ? `id:${id}` : `cluster:${cluster}`;
      return [{ score, tokens: usage.completionTokens, isCut: finishReason === 'length', unit }];
    }),
  );
  if (all.length === 0)
    throw new EvaluationError('NO_RECORDS', `efficiency: "${grader}" graded nothing of ${config.task}.`);
  type One = (typeof all)[number];
  const mean = (some: readonly One[], value: (one: One) => number): MeanEstimate =>
    meanWithStandardError(
      some.map(value),
      some.map(({ unit }) => unit),
    );
  const ended = all.filter(({ isCut }) => !isCut);
  const sum = (some: readonly One[]): number => some.reduce((total, { score }) => total + score, 0);
  const cut = all.length - ended.length;
  const spent = all.filter(({ tokens }) => tokens > 0);
  return {
    tokens: mean(all, ({ tokens }) => tokens),
    tokensRight: mean(
      all.filter(({ score }) => score === 1),
      ({ tokens }) => tokens,
    ),
    tokensWrong: mean(
      all.filter(({ score }) => score === 0),
      ({ tokens }) => tokens,
    ),
    rightPerThousandTokens: ratioWithStandardError(
      spent.map(({ score }) => 1000 * score),
      spent.map(({ tokens }) => tokens),
      spent.map(({ unit }) => unit),
    ),
    truncation: {
      share: mean(all, ({ isCut }) => Number(isCut)),
      accuracy: mean(all, ({ score }) => score),
      accuracyEnded: mean(ended, ({ score }) => score),
      bounds: [sum(ended) / all.length, (sum(ended) + cut) / all.length],
      cutRight: all.filter(({ isCut, score }) => isCut && score === 1).length,
    },
  };
}
