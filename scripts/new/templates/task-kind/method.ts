import {
  assertLength,
  EvaluationError,
  hashRequest,
  type KindTask,
  type Metric,
  type Problem,
  type ProblemBase,
  type Row,
  recordOf,
  requireMethod,
  type TaskKind,
  untilAborted,
} from '@posttrain/eval';
import type { Scorer } from '@posttrain/interfaces';

/** A problem as it is logged. */
export interface MyMethodProblem extends ProblemBase {
  readonly target: string;
  /** log p of the target given the prompt, natural. */
  readonly logProb: number;
  readonly tokens: number;
}

/** How likely a model finds the answers. Made by `myMethod`. */
export interface MyMethodTask<R extends Row = Row> extends KindTask<R, Scorer, MyMethodProblem> {
  readonly type: 'my_method';
  /** The answer of a row. */
  target(row: R): string;
}

/** The likelihood of given answers (arXiv 0000.00000): a scorer is asked for log p(target | prompt) of every row. */
export const myMethodKind: TaskKind<MyMethodTask, Scorer, MyMethodProblem> = {
  type: 'my_method',
  keys: ['target'],
  checkModel: (model, where) => requireMethod(model, 'score', 'scorer', 'LocalScorer', where),
  check({ target }, where) {
    if (typeof target === 'function') return;
    throw new EvaluationError('BAD_TASK', `${where}: target must be a function of a row that gives its answer.`);
  },
  settings: () => ({}),
  hash: (task, problem) => hashRequest(requestOf(task, problem)),
  async ask(task, problems, scorer, { signal }) {
    const begun = performance.now();
    const requests = problems.map((problem) => requestOf(task, problem));
    const scores = await untilAborted(() => scorer.score(requests), signal, task.name);
    assertLength(scorer.name, 'scores', scores.length, requests.length, 'requests');
    const seconds = (performance.now() - begun) / 1000 / problems.length;
    return problems.map((problem, i) => {
      const { logProb, tokens } = scores[i]!;
      const record = recordOf(problem, hashRequest(requests[i]!), seconds);
      return { ...record, target: requests[i]!.continuation, logProb, tokens };
    });
  },
  seen: (record) => record,
};

const requestOf = (task: MyMethodTask, { prompt, row }: Problem) => ({ prompt, continuation: task.target(row) });

/** A task of the kind, of the keys that all tasks have and `target`. */
export function myMethod<R extends Row>(task: Omit<MyMethodTask<R>, 'type' | 'kind'>): MyMethodTask<R> {
  return { ...task, type: 'my_method', kind: myMethodKind };
}

/** The mean over problems of exp(log p / tokens): how likely a token of an answer is, as a geometric mean. */
export const myMethodLikelihood = (): Metric<MyMethodProblem> => ({
  name: 'my_method_likelihood',
  value: ({ logProb, tokens }) => Math.exp(logProb / tokens),
});
