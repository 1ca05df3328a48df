import type { Generator, PairJudge, PairVerdict, SamplingParams } from '@posttrain/interfaces';
import { showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import type { ProblemBase } from '../log/format.js';
import type { Row } from '../task.js';
import {
  type AskContext,
  hashRequest,
  type KindTask,
  type Problem,
  problemSeed,
  recordOf,
  requireMethod,
  type TaskKind,
} from '../task-kind.js';
import { judgedInBothOrders, type LoggedSide, scoreOf, sidesOf } from './judged-pairs.js';

/** A pair as it is logged. */
export interface PairwiseProblem extends ProblemBase {
  readonly seed: number;
  /** What the model wrote. */
  readonly completion: LoggedSide;
  /** What it was compared with. */
  readonly opponent: LoggedSide;
  /** The judge's verdicts: first with the model's completion shown first, then with it shown second. */
  readonly verdicts: readonly [modelFirst: PairVerdict, modelSecond: PairVerdict];
  /** 1: preferred in both orders; 0: the opponent in both; 0.5: anything else that was said; `null`: a verdict is missing. */
  readonly score: number | null;
}

/** A model against another, or against given texts, before a judge. Made by `pairwise`. */
export interface PairwiseTask<R extends Row = Row> extends KindTask<R, Generator, PairwiseProblem> {
  readonly type: 'pairwise';
  /** The other side: a model, which gets the same request, or the text of a row. */
  readonly opponent: Generator | ((row: R) => string);
  readonly judge: PairJudge;
  /** How both sides draw; the seed is `evaluate`'s. */
  readonly sampling?: Omit<SamplingParams, 'seed'>;
}

/**
 * Pairwise comparison before a judge (LLM-as-judge, arXiv 2306.05685 §3.4): each pair is shown in both orders, and a side wins that is preferred in
 * both; where the orders disagree it is a tie. What the judge owes to position alone is counted by `positionConsistency`, `firstPositionBias` and
 * `secondPositionBias`.
 */
export const pairwiseKind: TaskKind<PairwiseTask, Generator, PairwiseProblem> = {
  type: 'pairwise',
  keys: ['opponent', 'judge', 'sampling'],
  checkModel: (model, where) => requireMethod(model, 'generate', 'generator', 'LocalGenerator', where),
  check({ opponent, judge }, where) {
    const wrong = (problem: string) => new EvaluationError('BAD_TASK', `${where}: ${problem}`);
    if (typeof opponent !== 'function' && typeof (opponent as Generator | undefined)?.generate !== 'function')
      throw wrong(
        `opponent is ${showValue(opponent)}; it must be a generator, or a function of a row that gives a text.`,
      );
    if (typeof (judge as PairJudge | undefined)?.compare !== 'function')
      throw wrong(
        `judge is ${showValue(judge)}; it must be an object with a name and compare(requests), such as pairJudge({ generator }).`,
      );
  },
  settings: ({ sampling = {}, opponent, judge }) => ({
    sampling,
    // Texts of rows are in the hash of each request.
    ...(typeof opponent === 'object' && { opponent: opponent.name }),
    judge: judge.name,
  }),
  hash: (task, problem, context) => hashRequest(requestOf(task, problem, context)),
  async ask(task, problems, model, context) {
    const begun = performance.now();
    const requests = problems.map((problem) => requestOf(task, problem, context));
    const own = await sidesOf(task, model, problems, context);
    const { opponent } = task;
    const other =
      typeof opponent === 'function'
        ? problems.map(({ row }): LoggedSide => ({ text: opponent(row) }))
        : await sidesOf(task, opponent, problems, context);
    const { signal } = context;
    const pairs = problems.map(({ prompt, row }, i) => ({ prompt, row, first: own[i]!.text, second: other[i]!.text }));
    const verdicts = await judgedInBothOrders(task, pairs, signal);
    const seconds = (performance.now() - begun) / 1000 / problems.length;
    return problems.map((problem, i) => {
      const both = verdicts[i]!;
      return {
        ...recordOf(problem, hashRequest(requests[i]), seconds),
        seed: problemSeed(context.seed, problem.id),
        completion: own[i]!,
        opponent: other[i]!,
        verdicts: both,
        score: scoreOf(both),
      };
    });
  },
  seen: (record) => record,
  usage: ({ completion }) => (completion.usage ? [completion.usage] : []),
  verdicts: ({ verdicts }) => verdicts,
  warnings(records) {
    const missing = records.filter(({ score }) => score === null).length;
    return missing === 0 ? [] : [`The judge did not say which is better in ${missing} of ${records.length} pairs.`];
  },
};

/** A pairwise task of the keys that all tasks have, `opponent`, `judge` and `sampling`. */
export function pairwise<R extends Row>(task: Omit<PairwiseTask<R>, 'type' | 'kind'>): PairwiseTask<R> {
  return { ...task, type: 'pairwise', kind: pairwiseKind };
}

function requestOf(task: PairwiseTask, { id, prompt, row }: Problem, { seed }: AskContext) {
  const { opponent, sampling } = task;
  return {
    ...{ prompt, ...sampling, seed: problemSeed(seed, id) },
    ...(typeof opponent === 'function' && { opponent: opponent(row) }),
  };
}
