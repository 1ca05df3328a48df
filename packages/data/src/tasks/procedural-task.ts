import {
  boolean,
  custom,
  type Given,
  integer,
  type Option,
  oneOf,
  options,
  type Verdict,
  type Verifier,
} from '@posttrain/interfaces';
import { answersEqual } from '@posttrain/interfaces/answers';
import type { Random } from '@posttrain/interfaces/random';
import { DataOptionError, RowError, TaskExhaustedError } from '../errors.js';
import { isPlainObject, kindOf } from '../rows.js';
import { hashFraction } from '../stable-hash.js';
import { SPLIT_NAMES, type SplitName } from '../steps/split.js';

/** What a checker says of a completion. */
export type TaskVerdict = { readonly correct: true } | { readonly correct: false; readonly reason: string };

/**
 * A family of problems that are made from a seed and checked exactly. Problems are plain JSON objects.
 * All methods are pure.
 */
export interface ProceduralTask<Problem extends object = object> {
  readonly name: string;
  /** Problem number `index` of a seed. */
  generate(seed: number, index: number): Problem;
  /** Equal for problems that are the same up to order, so that no variant of a test problem is in the train split. */
  key(problem: Problem): string;
  prompt(problem: Problem): string;
  /** A completion that is right: the scratchpad, then `#` and the answer. */
  solution(problem: Problem): string;
  answer(problem: Problem): string;
  /** The answer a completion gives, or `null` when it does not give exactly one. */
  extractAnswer(completion: string): string | null;
  check(problem: Problem, completion: string): TaskVerdict;
  /** A score in [0, 1] of the answer that was found, 1 where it is right. Default: 1 or 0, by `check`. */
  scoreAnswer?(problem: Problem, answer: string | null): number;
}

/** One row, usable as it is for SFT (`prompt`, `completion`), for RL and for evaluation (`prompt`, `answer`). */
export type TaskRow<Problem extends object = object> = {
  readonly id: string;
  readonly task: string;
  readonly prompt: string;
  readonly completion: string;
  readonly answer: string;
  readonly problem: Problem;
};

const taskRowsOptions = options('taskRows', {
  split: oneOf(SPLIT_NAMES, {}),
  count: integer({ min: 0 }),
  seed: integer({}),
  /** Yield no two problems with the same key. Turn it off to train on more rows than there are problems. Default true. */
  unique: boolean({ default: true }),
});
/** Options of `taskRows`. */
export type TaskRowsOptions = Given<typeof taskRowsOptions>;

/** The share of problems that belong to the test split. It is fixed, so that any two calls agree on the split. */
export const TEST_FRACTION = 0.2;

const MAX_MISSES = 20_000;

/** The split a problem belongs to. It depends on the task's name and the problem's key only, not on seed or options. */
export function splitOfProblem<Problem extends object>(task: ProceduralTask<Problem>, problem: Problem): SplitName {
  return hashFraction(`${task.name}\n${task.key(problem)}`) < TEST_FRACTION ? 'test' : 'train';
}

/**
 * `count` rows of one split. Train and test rows never share a problem, whatever their seeds and the task's options.
 * Throws `TASK_EXHAUSTED` when the task has too few different problems.
 */
export function* taskRows<Problem extends object>(
  task: ProceduralTask<Problem>,
  given: TaskRowsOptions,
): Generator<TaskRow<Problem>> {
  assertTask('taskRows', task);
  const { split, count, seed, unique } = taskRowsOptions.read(given);
  const seen = new Set<string>();
  let misses = 0;
  for (let index = 0, made = 0; made < count; index++) {
    const problem = task.generate(seed, index);
    const key = task.key(problem);
    if (splitOfProblem(task, problem) !== split || seen.has(key)) {
      if (++misses < MAX_MISSES) continue;
      const problemText = `found only ${made} different problems for the ${split} split, ${count} were asked for.`;
      throw new TaskExhaustedError(task.name, `${problemText} Widen its options, or pass unique: false.`);
    }
    misses = 0;
    made++;
    if (unique) seen.add(key);
    yield {
      id: `${task.name}-${seed}-${index}`,
      task: task.name,
      prompt: task.prompt(problem),
      completion: task.solution(problem),
      answer: task.answer(problem),
      problem,
    };
  }
}

function assertTask(where: string, task: unknown): void {
  // Functions have a name too.
  if (typeof task === 'object' && task !== null && 'generate' in task && 'check' in task) return;
  const hint = typeof task === 'function' ? ' Call the function that makes the task.' : '';
  throw new DataOptionError(
    where,
    `a task must be an object with the methods of ProceduralTask, got ${kindOf(task)}.${hint}`,
  );
}

/** A verifier for the rows of these tasks: the score of the task where it gives one, else 1 when its checker accepts the completion, and 0 when not. */
export function taskVerifier(tasks: readonly ProceduralTask[]): Verifier {
  if (!Array.isArray(tasks))
    throw new DataOptionError('taskVerifier', `tasks must be a list of tasks, got ${kindOf(tasks)}.`);
  for (const task of tasks) assertTask('taskVerifier', task);
  const byName = new Map(tasks.map((task) => [task.name, task]));
  return {
    name: tasks.map((task) => task.name).join('+'),
    async verify(requests) {
      return requests.map(({ completion, row }, i): Verdict => {
        const task = byName.get(String(row?.task));
        if (task === undefined) {
          const known = [...byName.keys()].join(', ');
          throw new RowError(i + 1, 'task', `must be one of ${known}, got ${JSON.stringify(row?.task)}.`);
        }
        const problem = row?.problem;
        if (!isPlainObject(problem)) throw new RowError(i + 1, 'problem', `must be an object, got ${kindOf(problem)}.`);
        const verdict = task.check(problem, completion);
        if (verdict.correct) return { score: 1 };
        const score = task.scoreAnswer?.(problem, task.extractAnswer(completion)) ?? 0;
        return { score, explanation: verdict.reason };
      });
    },
  };
}

/** What follows the one `#` of a completion, trimmed; `null` when there is no `#`, or several, or nothing after it. */
export function answerAfterMark(completion: string): string | null {
  const parts = completion.split('#');
  const answer = parts[1]?.trim();
  return parts.length === 2 && answer !== undefined && answer !== '' ? answer : null;
}

/** The check of tasks whose answer is a text: it must be exactly that, letter by letter. */
export function checkText(expected: string, completion: string): TaskVerdict {
  return checkAnswer(expected, completion, (answer) => answer === expected);
}

/** The check of tasks whose answer is a number, however it is written: as rewards, votes and grades compare answers. */
export function checkNumber(expected: string, completion: string): TaskVerdict {
  return checkAnswer(expected, completion, (answer) => answersEqual(answer, expected));
}

function checkAnswer(expected: string, completion: string, isRight: (answer: string) => boolean): TaskVerdict {
  const answer = answerAfterMark(completion);
  if (answer === null) return noAnswer(completion);
  return isRight(answer) ? { correct: true } : { correct: false, reason: `expected ${expected}, got ${answer}` };
}

export function noAnswer(completion: string): TaskVerdict {
  const marks = completion.split('#').length - 1;
  const what = marks === 0 ? 'there is no #' : marks === 1 ? 'nothing follows the #' : `there are ${marks} #`;
  return { correct: false, reason: `no single answer: ${what}` };
}

/** A number, or the smallest and largest of a uniform range, both included. */
export type IntegerRange = number | readonly [number, number];

export const endsOf = (range: IntegerRange): readonly [number, number] =>
  typeof range === 'number' ? [range, range] : range;

/** How an `IntegerRange` within [min, max] is asked for, and whether a value is one. */
export const rangeWithin = (min: number, max: number): readonly [string, (value: unknown) => boolean] => [
  `a whole number, or the smallest and largest of a range, from ${min} to ${max}`,
  (value) => {
    const [low, high, ...more] = Array.isArray(value) ? value : [value, value];
    const isWhole = more.length === 0 && Number.isSafeInteger(low) && Number.isSafeInteger(high);
    return isWhole && min <= low && low <= high && high <= max;
  },
];

/** The option of an `IntegerRange` within [min, max]. */
export const integerRange = (fallback: IntegerRange, min: number, max: number): Option<IntegerRange, 'default'> =>
  custom<IntegerRange>()(...rangeWithin(min, max), { default: fallback });

export function drawFrom(random: Random, range: IntegerRange): number {
  return random.integer(...endsOf(range));
}

/** The option of a list of different ones of `allowed`, at least one. */
export const someOf = <T extends string>(
  allowed: readonly T[],
  fallback: readonly T[],
): Option<readonly T[], 'default'> =>
  custom<readonly T[]>()(
    `a list of some of ${allowed.join(' ')}, each once`,
    (value) =>
      Array.isArray(value) &&
      value.length > 0 &&
      value.every((item, i) => allowed.includes(item) && value.indexOf(item) === i),
    { default: fallback },
  );
