import { createHash } from 'node:crypto';
import type { Prompt, Usage, Verdict } from '@posttrain/interfaces';
import { showValue } from '@posttrain/interfaces';
import { withDeadline } from '@posttrain/interfaces/concurrency';
import { EvaluationError } from './errors.js';
import type { ProblemBase } from './log/format.js';
import type { Metric, Row, TaskBase } from './task.js';

/** A problem that has not been asked yet. */
export interface Problem<R extends Row = Row> {
  readonly id: string;
  readonly row: R;
  readonly prompt: Prompt;
  readonly cluster?: string;
}

/** Problems per call of a scorer: it computes once what their prompts share, and fills its passes. Not all, so that a log gets them as they come. */
export const SCORED_AT_ONCE = 256;

/** What asking is done under. */
export interface AskContext {
  /** Seed of the run. `problemSeed(seed, id)` is a problem's own. */
  readonly seed: number;
  /** Cancellation: fires when the answers are not needed any more. */
  readonly signal?: AbortSignal;
}

/**
 * A kind of task: how problems are asked, what is logged of them, and what metrics see. `evaluate` does the rest (batches, ids, the
 * log and its resumption, standard errors) and knows no kind. A task of a kind from elsewhere has it as its `kind`.
 */
export interface TaskKind<Task extends TaskBase, Model, Record extends ProblemBase, Seen = Record> {
  /** Its name, in tasks and in logs. */
  readonly type: string;
  /** Keys that its tasks have beside those of all tasks. */
  readonly keys: readonly string[];
  /** Throws unless the model can be asked: `requireMethod` does that. */
  checkModel(model: unknown, where: string): void;
  /** Throws unless the keys of its own are what they must be. Nothing has been asked yet. */
  check(task: Task, where: string): void;
  /** What of the task decides requests and grades: into the log, where two runs must agree in it. JSON. */
  settings(task: Task): Readonly<{ [key: string]: unknown }>;
  /** SHA-256 of what would be asked (`hashRequest`), to notice that a resumed run would ask something else. */
  hash(task: Task, problem: Problem, context: AskContext): string;
  /** Records of problems, in their order: asked and graded together. They can be written as JSON. */
  ask(task: Task, problems: readonly Problem[], model: Model, context: AskContext): Promise<Record[]>;
  /** Problems per call of the model where the caller does not say. Default: 16. */
  batchSize?(task: Task): number | undefined;
  /** Names under each of which every metric is computed. Default: metrics are computed once, under no name. */
  graders?(task: Task): readonly string[];
  /** What metrics see of a record, under a grader where there are some. */
  seen(record: Record, grader?: string): Seen;
  /** Tokens of what the model wrote; absent for kinds that do not generate. */
  usage?(record: Record): readonly Usage[];
  /** What graders, verifiers and judges said: their tokens are counted apart. */
  verdicts?(record: Record): readonly Pick<Verdict, 'usage'>[];
  /** What a reader of the numbers has to know, beside problems that a metric leaves out. */
  warnings?(records: readonly Record[]): readonly string[];
}

/** A task that brings its kind. */
export interface KindTask<R extends Row, Model, P extends ProblemBase, Seen = P> extends TaskBase<R> {
  readonly kind: TaskKind<never, Model, P, Seen>;
  readonly metrics: readonly Metric<Seen>[];
}

/** What metrics, hashes and names of a record share: the columns of a problem, as they are logged. */
export function recordOf(problem: Problem, requestHash: string, seconds: number): ProblemBase {
  return { type: 'problem', ...problem, requestHash, seconds };
}

/** A 32-bit seed of the problem's own, so that order, batch size and resuming do not change what is drawn. */
export function problemSeed(seed: number, id: string): number {
  return createHash('sha256').update(`${seed}:${id}`).digest().readUInt32LE(0);
}

/** SHA-256 of a request's JSON. */
export function hashRequest(request: unknown): string {
  return createHash('sha256').update(JSON.stringify(request)).digest('hex');
}

/** Throws `BAD_RESPONSE` where a model or a grader has not answered everything it was asked. */
export function assertLength(who: string, what: string, got: number, expected: number, of: string): void {
  if (got !== expected)
    throw new EvaluationError('BAD_RESPONSE', `${who} returned ${got} ${what} for ${expected} ${of}.`);
}

/** Asks graders, judges and models, and stops waiting when the signal fires, whether or not they heed it: `ABORTED`. */
export async function untilAborted<T>(
  ask: () => Promise<T>,
  signal: AbortSignal | undefined,
  task: string,
): Promise<T> {
  try {
    return await withDeadline(ask, { signal, timeoutMs: undefined, timeoutError: () => new Error('no deadline') });
  } catch (error) {
    if (!signal?.aborted || error !== signal.reason) throw error;
    throw new EvaluationError('ABORTED', `${task}: stopped by the signal.`, { cause: signal.reason });
  }
}

/** Throws `BAD_MODEL` unless the model has a method; `local` is the class that makes one of a model of `@posttrain/lm`. */
export function requireMethod(model: unknown, method: string, kind: string, local: string, where: string): void {
  const given = model as Readonly<Record<string, unknown>> | null | undefined;
  if (typeof given?.[method] === 'function') return;
  const isLocal = given?.network !== undefined && given.weights !== undefined;
  const hint = isLocal ? ` Give it new ${local}(model).` : '';
  throw new EvaluationError(
    'BAD_MODEL',
    `${where} needs a ${kind}: an object with ${method}(requests), not ${showValue(model)}.${hint}`,
  );
}

/** Throws `BAD_TASK` unless a list is one, of objects with a method. */
export function requireList(list: unknown, name: string, method: string, kind: string, where: string): void {
  const wrong = (problem: string) => new EvaluationError('BAD_TASK', `${where}: ${problem}`);
  if (!Array.isArray(list)) throw wrong(`${name} is ${showValue(list)}; it must be a list.`);
  const at = list.findIndex(
    (item: unknown) => typeof (item as Record<string, unknown> | null)?.[method] !== 'function',
  );
  if (at >= 0) throw wrong(`${name}[${at}] is ${showValue(list[at])}; it must be ${kind}.`);
}
