import type { ScoreRequest, Scorer } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import type { ChoiceProblem, LoggedChoice } from '../log/format.js';
import type { MultipleChoiceTask } from '../task.js';
import {
  assertLength,
  hashRequest,
  type Problem,
  recordOf,
  requireMethod,
  SCORED_AT_ONCE,
  type TaskKind,
} from '../task-kind.js';

/** The model weighs given answers by log-likelihood. */
export const multipleChoiceKind: TaskKind<MultipleChoiceTask, Scorer, ChoiceProblem> = {
  type: 'multiple_choice',
  keys: ['choices', 'gold', 'delimiter'],
  checkModel: (model, where) => requireMethod(model, 'score', 'scorer', 'LocalScorer', where),
  check: () => {},
  settings: ({ delimiter = ' ' }) => ({ delimiter }),
  hash: (task, problem) => hashRequest(requestsOf(task, problem)),
  batchSize: () => SCORED_AT_ONCE,
  async ask(task, problems, scorer) {
    const begun = performance.now();
    const golds = problems.map((problem) => goldOf(task, problem));
    const requests = problems.map((problem) => requestsOf(task, problem));
    const scores = await scorer.score(requests.flat());
    assertLength(scorer.name, 'scores', scores.length, requests.flat().length, 'requests');
    const seconds = (performance.now() - begun) / 1000 / problems.length;
    let next = 0;
    return problems.map((problem, i) => ({
      ...recordOf(problem, hashRequest(requests[i]), seconds),
      gold: golds[i]!,
      choices: task.choices(problem.row).map((text): LoggedChoice => ({ text, ...scores[next++]! })),
    }));
  },
  seen: (record) => record,
};

const requestsOf = (task: MultipleChoiceTask, { row, prompt }: Problem): ScoreRequest[] =>
  task.choices(row).map((choice) => ({ prompt, continuation: (task.delimiter ?? ' ') + choice }));

function goldOf(task: MultipleChoiceTask, { id, row }: Problem): number {
  const gold = task.gold(row);
  const choices = task.choices(row);
  if (choices.length < 2 || choices.includes('')) {
    throw new EvaluationError(
      'BAD_TASK',
      `${task.name}: problem "${id}" needs two choices or more, none of them empty.`,
    );
  }
  if (!Number.isInteger(gold) || gold < 0 || gold >= choices.length) {
    throw new EvaluationError(
      'BAD_TASK',
      `${task.name}: problem "${id}" has gold ${gold}, but its choices are 0 to ${choices.length - 1}.`,
    );
  }
  return gold;
}
