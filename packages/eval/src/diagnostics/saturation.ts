import { compare } from '../compare.js';
import { EvaluationError } from '../errors.js';
import type { EvalResult } from '../log/format.js';
import { metricOf } from '../metrics/compute-metrics.js';
import { type RankCorrelation, type RankCorrelationOptions, rankCorrelation } from '../statistics/rank-correlation.js';

/** What a benchmark can still tell. */
export interface Saturation {
  /** The highest mean score of the models, and how far it is from `ceiling`. */
  readonly best: number;
  readonly headroom: number;
  /** Share of problems that every model has right (a value at the ceiling), or none has (a value of 0 or less): they tell nobody apart. */
  readonly solvedByAll: number;
  readonly solvedByNone: number;
  /** Share of pairs of models that the benchmark tells apart: the interval of their paired difference leaves 0 out. */
  readonly toldApart: number;
  readonly pairs: number;
  /** Rank correlation of scores with a utility of each model, where that is given. */
  readonly validity?: RankCorrelation;
}

/**
 * Whether a benchmark is saturated, and whether its order of models is that of something that matters (external validity): preference of people, success in use. The correlation's interval is over models.
 *
 * @param results one run of each model on the same problems, two or more
 * @param given `ceiling` (1): the highest value of a problem; `utility`: of each model, in the order of the runs
 * @throws OptionError; EvaluationError `NO_RECORDS` for fewer than two runs; `UNPAIRED`; `NO_SUCH_METRIC`
 */
export function saturation(
  results: readonly EvalResult[],
  metric: string,
  {
    grader,
    ceiling = 1,
    utility,
    ...correlation
  }: {
    readonly grader?: string;
    readonly ceiling?: number;
    readonly utility?: readonly number[];
  } & RankCorrelationOptions = {},
): Saturation {
  if (results.length < 2)
    throw new EvaluationError('NO_RECORDS', `saturation: ${results.length} runs; give one of two models or more.`);
  const found = results.map((result) => metricOf(result, metric, grader));
  const scores = found.map(({ value }, i) => {
    if (value !== null) return value;
    throw new EvaluationError(
      'NO_SUCH_METRIC',
      `saturation: the run of ${results[i]!.config.model} has no value of ${metric}.`,
    );
  });
  let [pairs, apart] = [0, 0];
  for (let i = 0; i < results.length; i++) {
    for (let j = 0; j < i; j++) {
      const { interval } = compare(results[j]!, results[i]!, {
        metric,
        resamples: 1000,
        ...(grader !== undefined && { grader }),
      });
      pairs++;
      if (interval !== null && (interval[0] > 0 || interval[1] < 0)) apart++;
    }
  }
  const [first] = results as readonly [EvalResult, ...EvalResult[]];
  const places = results.map(({ problems }) => new Map(problems.map(({ id }, i) => [id, i])));
  const share = (holds: (value: number) => boolean): number =>
    first.problems.filter(({ id }) =>
      found.every(({ values }, r) => {
        const value = values[places[r]!.get(id)!];
        return value != null && holds(value);
      }),
    ).length / first.problems.length;
  const best = Math.max(...scores);
  return {
    best,
    headroom: ceiling - best,
    solvedByAll: share((value) => value >= ceiling),
    solvedByNone: share((value) => value <= 0),
    toldApart: apart / pairs,
    pairs,
    ...(utility && { validity: rankCorrelation(scores, utility, correlation) }),
  };
}
