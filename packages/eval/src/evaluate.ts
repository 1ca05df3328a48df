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
import { type Asker, askGenerator, askScorer, type Problem } from './ask.js';
import { EvaluationError } from './errors.js';
import type {
  ChoiceProblem,
  EvalConfig,
  EvalResult,
  GenerateProblem,
  MetricResult,
  ProblemRecord,
} from './log/format.js';
import { type LogWriter, memoryLog, openLog } from './log/log-writer.js';
import { choiceMetrics, sampleMetrics } from './metrics/compute-metrics.js';
import type { GenerateTask, MultipleChoiceTask, Row, Task } from './task.js';
import { gradingUsage, totalUsage, warningsOf } from './warnings.js';

const evaluateOptions = options(
  'evaluate',
  {
    /** Log file (JSONL). When it holds a part of this very run, that part is not asked again. Default: none is kept. */
    log: custom<string>()('the path of a file', (value) => typeof value === 'string' && value !== '', {
      optional: true,
    }),
    /** Problems per call of the model. Default 16. It does not change the requests. */
    batchSize: integer({ default: 16, min: 1 }),
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

const TASK_KEYS = ['type', 'name', 'dataset', 'prompt', 'id', 'cluster', 'metrics'];
const GENERATE_KEYS = ['sampling', 'samples', 'prefix', 'graders', 'verifiers'];
const CHOICE_KEYS = ['choices', 'gold', 'delimiter'];

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
export async function evaluate<R extends Row>(
  task: Task<R>,
  model: Generator | Scorer,
  given: EvaluateOptions = {},
): Promise<EvalResult> {
  const settings = evaluateOptions.read(given);
  assertGoodTask(task);
  assertModel(task, model);
  const { seed, signal } = settings;
  const config = configOf(task, model.name, seed);
  const log = settings.log === undefined ? memoryLog() : await openLog(settings.log, config);
  try {
    if (task.type === 'generate') {
      const problems = await collect(task, askGenerator(task, model as Generator, seed, signal), log, settings);
      const metrics = task.graders.flatMap((grader) => sampleMetrics(problems, task.metrics, grader.name));
      return await finish(log, config, problems, metrics);
    }
    const problems = await collect(task, askScorer(task, model as Scorer), log, settings);
    return await finish(log, config, problems, choiceMetrics(problems, task.metrics));
  } finally {
    await log.close();
  }
}

async function collect<R extends Row, P extends ProblemRecord>(
  task: Task<R>,
  asker: Asker<R, P>,
  log: LogWriter,
  { batchSize, limit, signal, onProgress }: Settings,
): Promise<P[]> {
  const total = Array.isArray(task.dataset) ? Math.min(task.dataset.length, limit) : undefined;
  const records: (P | Problem<R>)[] = [];
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
    const answered = await asker.ask(batch.map((position) => records[position] as Problem<R>));
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
      assertSameRequest(finished, asker.hash(problem), task.name);
      records.push(finished as P);
      done++;
      continue;
    }
    batch.push(records.push(problem) - 1);
    if (batch.length >= batchSize) await flush();
  }
  await flush();
  if (records.length === 0) throw new EvaluationError('BAD_TASK', `${task.name}: the dataset has no rows to evaluate.`);
  if (asked === 0) report();
  return records as P[];
}

function describeProblem<R extends Row>(task: Task<R>, row: R, index: number, seen: Set<string>): Problem<R> {
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

async function finish<P extends ProblemRecord>(
  log: LogWriter,
  config: EvalConfig,
  problems: readonly P[],
  metrics: readonly MetricResult[],
): Promise<EvalResult<P>> {
  const usage = totalUsage(problems);
  const judged = gradingUsage(problems);
  const result = {
    finishedAt: new Date().toISOString(),
    metrics,
    ...(usage && { usage }),
    ...(judged && { gradingUsage: judged }),
    seconds: problems.reduce((sum, problem) => sum + problem.seconds, 0),
    warnings: warningsOf(problems, metrics),
  };
  await log.append([{ type: 'result', ...result, problems: problems.map(({ id }) => id) }]);
  return { config, startedAt: log.startedAt, problems, ...result };
}

function configOf(task: Task, model: string, seed: number): EvalConfig {
  const common = { task: task.name, type: task.type, model, seed };
  if (task.type === 'multiple_choice') return { ...common, delimiter: task.delimiter ?? ' ' };
  return {
    ...common,
    sampling: task.sampling ?? {},
    samples: task.samples ?? 1,
    // One of a row is in the hash of its request.
    ...(typeof task.prefix === 'string' && { prefix: task.prefix }),
    graders: task.graders.map(({ name }) => name),
    verifiers: (task.verifiers ?? []).map(({ name }) => name),
  };
}

/** What a task is given as, where a type checker has not looked. */
function assertShape(task: Task, where: string): void {
  const { dataset, prompt, metrics } = task as { readonly [Key in keyof Task]: unknown };
  const wrong = (problem: string) => new EvaluationError('BAD_TASK', `${where}: ${problem}`);
  const isIterable =
    typeof dataset === 'object' && dataset !== null && (Symbol.iterator in dataset || Symbol.asyncIterator in dataset);
  if (!isIterable)
    throw wrong(`dataset is ${showValue(dataset)}; give it the rows, such as those of readRows of @posttrain/data.`);
  if (typeof prompt !== 'function')
    throw wrong(`prompt is ${showValue(prompt)}; give it a function of a row, such as (row) => row.question.`);
  const lists = { metrics: [metrics, 'value', 'a metric, such as passAtK(1)'] } as Record<
    string,
    [unknown, string, string]
  >;
  if (task.type === 'generate') {
    const { graders, verifiers = [] } = task as { readonly graders: unknown; readonly verifiers?: unknown };
    for (const [name, list] of Object.entries({ graders, verifiers }))
      lists[name] = [list, 'verify', 'an object with a name and verify(requests), such as exactMatch()'];
  }
  for (const [name, [list, method, kind]] of Object.entries(lists)) {
    if (!Array.isArray(list)) throw wrong(`${name} is ${showValue(list)}; it must be a list.`);
    const at = list.findIndex(
      (item: unknown) => typeof (item as Record<string, unknown> | null)?.[method] !== 'function',
    );
    if (at >= 0) throw wrong(`${name}[${at}] is ${showValue(list[at])}; it must be ${kind}.`);
  }
}

function assertModel(task: Task, model: unknown): void {
  const [method, kind, local] =
    task.type === 'generate' ? ['generate', 'generator', 'LocalGenerator'] : ['score', 'scorer', 'LocalScorer'];
  const given = model as Readonly<Record<string, unknown>> | null | undefined;
  if (typeof given?.[method] === 'function') return;
  const isLocal = given?.network !== undefined && given.weights !== undefined;
  const hint = isLocal ? ` Give it new ${local}(model).` : '';
  throw new EvaluationError(
    'BAD_MODEL',
    `task "${task.name}" needs a ${kind}: an object with ${method}(requests), not ${showValue(model)}.${hint}`,
  );
}

function assertGoodTask(task: Task): void {
  const isTask = typeof task === 'object' && task !== null;
  assertArgument('evaluate', 'task', task, isTask, 'a task: { type, name, dataset, prompt, … }');
  const where = `task "${task.name}"`;
  assertKnownOptions(where, task, [...TASK_KEYS, ...(task.type === 'generate' ? GENERATE_KEYS : CHOICE_KEYS)]);
  assertShape(task, where);
  if (task.type !== 'generate') return;
  const samples = task.samples ?? 1;
  if (!Number.isInteger(samples) || samples < 1) {
    throw new EvaluationError(
      'BAD_TASK',
      `${where}: samples must be a whole number above 0, not ${showValue(samples)}.`,
    );
  }
  const greedy = task.metrics.find(({ k = 0 }) => k > samples);
  if (greedy) {
    throw new EvaluationError(
      'TOO_FEW_SAMPLES',
      `${where}: ${greedy.name} needs ${greedy.k} samples of every problem, but "samples" is ${samples}. ` +
        'Nothing has been asked yet: raise "samples", or ask for a smaller k.',
    );
  }
  if (task.graders.length === 0)
    throw new EvaluationError('BAD_TASK', `${where} has no grader, so nothing can be measured.`);
  const names = [...task.graders, ...(task.verifiers ?? [])].map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new EvaluationError(
      'BAD_TASK',
      `${where}: two graders or verifiers are called "${twice}"; give each its own name.`,
    );
  }
}

function assertSameRequest(finished: ProblemRecord, hash: string, task: string): void {
  if (finished.requestHash === hash) return;
  throw new EvaluationError(
    'LOG_MISMATCH',
    `${task}: the log's problem "${finished.id}" was asked with another prompt, choices or sampling than now. ` +
      'Give this run a log of its own, or delete the file.',
  );
}
