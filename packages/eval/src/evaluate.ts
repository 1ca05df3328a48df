import {
  assertArgument,
  assertKnownOptions,
  custom,
  type Generator,
  type Given,
  integer,
  type OnProgress,
  options,
  type Prompt,
  type Read,
  type Scorer,
  showValue,
} from '@posttrain/interfaces';
import { EvaluationError } from './errors.js';
import { generateKind } from './kinds/generate.js';
import { multipleChoiceKind } from './kinds/multiple-choice.js';
import type { ChoiceProblem, EvalConfig, EvalResult, GenerateProblem, ProblemBase } from './log/format.js';
import { type LogWriter, memoryLog, openLog } from './log/log-writer.js';
import { aggregate } from './metrics/compute-metrics.js';
import type { GenerateTask, Metric, MultipleChoiceTask, Row, TaskBase } from './task.js';
import { type AskContext, assertLength, type KindTask, type Problem, requireList, type TaskKind } from './task-kind.js';
import { addUsage, leftOutWarnings } from './warnings.js';

const evaluateOptions = options(
  'evaluate',
  {
    /** Log file (JSONL), from which a run resumes: problems in it are not asked again. Default: no log. */
    log: custom<string>()('the path of a file', (value) => typeof value === 'string' && value !== '', {
      optional: true,
    }),
    /** Problems per call of the model. Default: 256 where answers are scored, else 16. It does not change the requests. */
    batchSize: integer({ min: 1, optional: true }),
    /** Stop after this many problems. Default: all. */
    limit: custom<number>()(
      'a whole number of at least 0, or Infinity',
      (value) => value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && (value as number) >= 0),
      { default: Number.POSITIVE_INFINITY },
    ),
    /** Seed of the run, from which every problem's own seed is derived. Default 0. */
    seed: integer({ default: 0 }),
    onProgress: custom<OnProgress>()('a function', (value) => typeof value === 'function', { optional: true }),
    /** Stops before the next batch; what was finished stays in the log. */
    signal: custom<AbortSignal>()('an AbortSignal', (value) => value instanceof AbortSignal, { optional: true }),
  },
  {
    hints: {
      samples: 'It belongs to the task.',
      temperature: 'It belongs to the task: sampling: { temperature }.',
      maxTokens: 'It belongs to the task: sampling: { maxTokens }.',
      num_fewshot: 'Put the examples into the prompt that the task makes.',
    },
  },
);
/** Options of `evaluate`. */
export type EvaluateOptions = Given<typeof evaluateOptions>;
type Settings = Read<typeof evaluateOptions>;

/** Problems per call of the model where nobody says. */
const BATCH = 16;

const TASK_KEYS = ['type', 'kind', 'name', 'dataset', 'prompt', 'id', 'cluster', 'metrics'];

/** A kind whose types are forgotten: tasks, models and records meet in `evaluate` only by its methods. */
type AnyKind = TaskKind<TaskBase, unknown, ProblemBase, unknown>;

/** The kinds that a task names by its `type` alone. */
export const taskKinds = { generate: generateKind, multiple_choice: multipleChoiceKind } as const;

/**
 * Asks a model every problem of a task, grades what it says, and computes the task's metrics with standard errors.
 * @throws OptionError; EvaluationError `BAD_TASK`, `DUPLICATE_ID`, `LOG_MISMATCH`, `LOG_MALFORMED`, `LOG_WRITE_FAILED`, `BAD_RESPONSE` for a
 * model that answers out of shape, `ABORTED` when the signal fired. Errors of the model itself pass through; the log keeps
 * what was finished before.
 */
export function evaluate<R extends Row>(
  task: GenerateTask<R>,
  model: Generator,
  options?: EvaluateOptions,
): Promise<EvalResult<GenerateProblem>>;
export function evaluate<R extends Row>(
  task: MultipleChoiceTask<R>,
  model: Scorer,
  options?: EvaluateOptions,
): Promise<EvalResult<ChoiceProblem>>;
export function evaluate<Model, P extends ProblemBase, Seen>(
  task: KindTask<Row, Model, P, Seen>,
  model: Model,
  options?: EvaluateOptions,
): Promise<EvalResult<P>>;
export async function evaluate(task: TaskBase, model: unknown, given: EvaluateOptions = {}): Promise<EvalResult> {
  const settings = evaluateOptions.read(given);
  const kind = kindOf(task);
  assertGoodTask(task, kind);
  kind.checkModel(model, `task "${task.name}"`);
  const { seed, signal } = settings;
  const context: AskContext = { seed, ...(signal && { signal }) };
  const { name } = model as { readonly name: string };
  const config = { task: task.name, type: kind.type, model: name, seed, ...kind.settings(task) } as EvalConfig;
  const log = settings.log === undefined ? memoryLog() : await openLog(settings.log, config);
  try {
    const problems = await collect(task, kind, model, context, log, settings);
    return await finish(log, config, task, kind, problems);
  } finally {
    await log.close();
  }
}

async function collect(
  task: TaskBase,
  kind: AnyKind,
  model: unknown,
  context: AskContext,
  log: LogWriter,
  { batchSize = kind.batchSize?.(task) ?? BATCH, limit, signal, onProgress }: Settings,
): Promise<ProblemBase[]> {
  const total = Array.isArray(task.dataset) ? Math.min(task.dataset.length, limit) : undefined;
  const records: (ProblemBase | Problem)[] = [];
  const seen = new Set<string>();
  const begun = performance.now();
  let asked = 0;
  let done = 0;
  let batch: number[] = [];

  const report = (): void => {
    const perProblem = asked > 0 ? (performance.now() - begun) / 1000 / asked : undefined;
    onProgress?.({
      stage: task.name,
      done,
      ...(total !== undefined && { total }),
      ...(total !== undefined && perProblem !== undefined && { etaSeconds: perProblem * (total - done) }),
    });
  };
  const flush = async (): Promise<void> => {
    if (batch.length === 0) return;
    if (signal?.aborted) {
      throw new EvaluationError('ABORTED', `${task.name}: stopped by the signal after ${done} problems.`, {
        cause: signal.reason,
      });
    }
    const asking = batch.map((position) => records[position] as Problem);
    const answered = await kind.ask(task, asking, model, context);
    assertLength(kind.type, 'records', answered.length, asking.length, 'problems');
    await log.append(answered);
    answered.forEach((record, i) => {
      records[batch[i]!] = record;
    });
    asked += batch.length;
    done += batch.length;
    batch = [];
    report();
  };

  for await (const row of task.dataset) {
    const index = records.length;
    if (index >= limit) break;
    const problem = describeProblem(task, row, index, seen);
    const finished = log.finished.get(problem.id);
    if (finished) {
      assertSameRequest(finished, kind.hash(task, problem, context), task.name);
      records.push(finished);
      done++;
      continue;
    }
    batch.push(records.push(problem) - 1);
    if (batch.length >= batchSize) await flush();
  }
  await flush();
  if (records.length === 0) throw new EvaluationError('BAD_TASK', `${task.name}: the dataset has no rows to evaluate.`);
  if (asked === 0) report();
  return records as ProblemBase[];
}

function describeProblem(task: TaskBase, row: Row, index: number, seen: Set<string>): Problem {
  const id = task.id ? task.id(row, index) : String(index);
  if (seen.has(id))
    throw new EvaluationError('DUPLICATE_ID', `${task.name}: row ${index} has the id "${id}" of an earlier row.`);
  seen.add(id);
  const prompt: unknown = task.prompt(row);
  if (typeof prompt !== 'string' && !Array.isArray(prompt)) {
    throw new EvaluationError(
      'BAD_TASK',
      `task "${task.name}": the prompt of problem "${id}" is ${showValue(prompt)}; it must be a text or a list of messages. ` +
        `The row's columns are ${Object.keys(row).join(', ') || 'none'}.`,
    );
  }
  return { id, row, prompt: prompt as Prompt, ...(task.cluster && { cluster: task.cluster(row) }) };
}

async function finish(
  log: LogWriter,
  config: EvalConfig,
  task: TaskBase,
  kind: AnyKind,
  problems: readonly ProblemBase[],
): Promise<EvalResult> {
  const metrics = (kind.graders?.(task) ?? [undefined]).flatMap((grader) => {
    const seen = problems.map((problem) => kind.seen(problem, grader));
    return (task.metrics as readonly Metric<unknown>[]).map((metric) => ({
      ...aggregate(metric, seen, problems),
      ...(grader !== undefined && { grader }),
    }));
  });
  const usage = addUsage(problems.flatMap((problem) => kind.usage?.(problem) ?? []));
  const judged = addUsage(
    problems.flatMap((problem) => kind.verdicts?.(problem) ?? []).flatMap(({ usage: of }) => of ?? []),
  );
  const result = {
    finishedAt: new Date().toISOString(),
    metrics,
    ...(usage && { usage }),
    ...(judged && { gradingUsage: judged }),
    seconds: problems.reduce((sum, problem) => sum + problem.seconds, 0),
    warnings: [...(kind.warnings?.(problems) ?? []), ...leftOutWarnings(problems, metrics)],
  };
  await log.append([{ type: 'result', ...result, problems: problems.map(({ id }) => id) }]);
  return { config, startedAt: log.startedAt, problems, ...result } as EvalResult;
}

/** The kind that a task brings, or names. */
function kindOf(task: TaskBase): AnyKind {
  const isTask = typeof task === 'object' && task !== null;
  assertArgument('evaluate', 'task', task, isTask, 'a task: { type, name, dataset, prompt, … }');
  const own = task.kind as AnyKind | undefined;
  if (typeof own?.ask === 'function') return own;
  const named = Object.hasOwn(taskKinds, task.type) ? taskKinds[task.type as keyof typeof taskKinds] : undefined;
  if (named !== undefined) return named as unknown as AnyKind;
  throw new EvaluationError(
    'BAD_TASK',
    `task "${task.name}": type is ${showValue(task.type)}; it must be one of ${Object.keys(taskKinds).join(', ')}, or the task must bring its "kind".`,
  );
}

function assertGoodTask(task: TaskBase, kind: AnyKind): void {
  const where = `task "${task.name}"`;
  assertKnownOptions(where, task, [...TASK_KEYS, ...kind.keys]);
  const { dataset, prompt, metrics } = task as { readonly [Key in keyof TaskBase]: unknown };
  const wrong = (problem: string) => new EvaluationError('BAD_TASK', `${where}: ${problem}`);
  const isIterable =
    typeof dataset === 'object' && dataset !== null && (Symbol.iterator in dataset || Symbol.asyncIterator in dataset);
  if (!isIterable)
    throw wrong(`dataset is ${showValue(dataset)}; give it the rows, such as those of readRows of @posttrain/data.`);
  if (typeof prompt !== 'function')
    throw wrong(`prompt is ${showValue(prompt)}; give it a function of a row, such as (row) => row.question.`);
  requireList(metrics, 'metrics', 'value', 'a metric, such as passAtK(1)', where);
  kind.check(task, where);
}

function assertSameRequest(finished: ProblemBase, hash: string, task: string): void {
  if (finished.requestHash === hash) return;
  throw new EvaluationError(
    'LOG_MISMATCH',
    `${task}: the log's problem "${finished.id}" was asked with another prompt, choices or sampling than now. ` +
      'Give this run a log of its own, or delete the file.',
  );
}
