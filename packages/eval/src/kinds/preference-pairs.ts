import type { Verifier, VerifyRequest } from '@posttrain/interfaces';
import { showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import type { ProblemBase } from '../log/format.js';
import type { Metric, Row } from '../task.js';
import {
  assertLength,
  hashRequest,
  type KindTask,
  type Problem,
  recordOf,
  requireMethod,
  type TaskKind,
  untilAborted,
} from '../task-kind.js';

/** A pair as it is logged: what the reward model gave the better answer, and the worse ones. */
export interface PreferenceProblem extends ProblemBase {
  readonly chosen: number | null;
  readonly rejected: readonly (number | null)[];
}

/** Answers of which one is better, before a reward model, which is the model. Made by `preferencePairs`. */
export interface PreferenceTask<R extends Row = Row> extends KindTask<R, Verifier, PreferenceProblem> {
  readonly type: 'preference_pairs';
  chosen(row: R): string;
  /** One worse answer, or several. */
  rejected(row: R): string | readonly string[];
}

/** Pairwise accuracy of a reward model, a judge or any other `Verifier`: it scores each answer by itself (RewardBench, arXiv 2403.13787). */
export const preferenceKind: TaskKind<PreferenceTask, Verifier, PreferenceProblem> = {
  type: 'preference_pairs',
  keys: ['chosen', 'rejected'],
  checkModel: (model, where) => requireMethod(model, 'verify', 'verifier', 'RewardModel', where),
  check({ chosen, rejected }, where) {
    for (const [name, given] of Object.entries({ chosen, rejected }))
      if (typeof given !== 'function')
        throw new EvaluationError(
          'BAD_TASK',
          `${where}: ${name} is ${showValue(given)}; it must be a function of a row.`,
        );
  },
  settings: () => ({}),
  hash: hashOf,
  async ask(task, problems, verifier, { signal }) {
    const begun = performance.now();
    const requests = problems.map((problem) => requestsOf(task, problem));
    const flat = requests.flat().map((request) => ({ ...request, ...(signal && { signal }) }));
    const verdicts = await untilAborted(() => verifier.verify(flat), signal, task.name);
    assertLength(verifier.name, 'verdicts', verdicts.length, flat.length, 'answers');
    const seconds = (performance.now() - begun) / 1000 / problems.length;
    let next = 0;
    return problems.map((problem, i) => {
      const [chosen, ...rejected] = requests[i]!.map(() => verdicts[next++]!.score) as [
        number | null,
        ...(number | null)[],
      ];
      return { ...recordOf(problem, hashOf(task, problem), seconds), chosen, rejected };
    });
  },
  seen: (record) => record,
};

function hashOf(task: PreferenceTask, problem: Problem): string {
  return hashRequest(requestsOf(task, problem).map(({ prompt, completion }) => [prompt, completion]));
}

function requestsOf(task: PreferenceTask, { row, prompt, id }: Problem): VerifyRequest[] {
  const rejected = [task.rejected(row)].flat();
  if (rejected.length === 0) throw new EvaluationError('BAD_ROW', `${task.name}: problem "${id}" has no worse answer.`);
  return [task.chosen(row), ...rejected].map((completion) => ({
    prompt,
    completion,
    row: row as Readonly<Record<string, unknown>>,
  }));
}

/** A task of pairs, of the keys that all tasks have, `chosen` and `rejected`. */
export function preferencePairs<R extends Row>(task: Omit<PreferenceTask<R>, 'type' | 'kind'>): PreferenceTask<R> {
  return { ...task, type: 'preference_pairs', kind: preferenceKind };
}

/** 1 where the better answer scores higher than every worse one, else 0; an equal score is no preference. Missing scores leave a pair out. */
export function pairAccuracy(): Metric<PreferenceProblem> {
  return {
    name: 'pair_accuracy',
    value: ({ chosen, rejected }) =>
      chosen === null || rejected.includes(null) ? null : Number(rejected.every((score) => chosen > score!)),
  };
}
