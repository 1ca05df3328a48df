import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Generator, OnProgress, Scorer } from '@posttrain/interfaces';
import { showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { evaluate } from '../evaluate.js';
import type { EvalResult } from '../log/format.js';
import type { GenerateTask } from '../task.js';
import { ArgumentsError, type Typed } from './arguments.js';

/** What `run` needs of the outside. */
export interface RunContext {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly onProgress?: OnProgress;
}

/** `posttrain-eval run`. @throws ArgumentsError, and what the task, the model and `evaluate` throw */
export async function runTasks(typed: Typed, { environment, onProgress }: RunContext): Promise<EvalResult[]> {
  const [file, ...others] = typed.positionals;
  if (file === undefined || others.length > 0) throw new ArgumentsError('run takes one module with a task.');
  const tasks = tasksOf(await imported(file), file);
  const log = typed.text('log');
  if (log !== undefined && tasks.length > 1)
    throw new ArgumentsError(`--log is one file, and ${file} has ${tasks.length} tasks; leave it out.`);
  const settings = {
    ...definedOnly({
      limit: typed.whole('limit', 0),
      seed: typed.whole('seed', 0),
      batchSize: typed.whole('batch-size', 1),
    }),
    ...(onProgress && { onProgress }),
  };
  const results: EvalResult[] = [];
  for (const task of tasks) {
    const model = await modelOf(typed, task, environment);
    const name = `${task.name}-${model.name}`.replaceAll(/[^\w.-]+/g, '_');
    results.push(await evaluate(task, model as Generator, { ...settings, log: log ?? `logs/${name}.jsonl` }));
  }
  return results;
}

type AnyTask = GenerateTask;

function tasksOf(module: Readonly<Record<string, unknown>>, file: string): AnyTask[] {
  const found = module.tasks ?? module.task ?? module.default;
  const tasks: unknown[] = Array.isArray(found) ? found : found === undefined ? [] : [found];
  const isTask = (task: unknown): task is AnyTask => typeof (task as Partial<AnyTask> | null)?.name === 'string';
  if (tasks.length > 0 && tasks.every(isTask)) return tasks;
  throw new EvaluationError(
    'BAD_TASK',
    `${file} exports ${showValue(found)}; it must export a task as "task", or a list of them as "tasks".`,
  );
}

async function modelOf(
  typed: Typed,
  task: AnyTask,
  environment: RunContext['environment'],
): Promise<Generator | Scorer> {
  const [endpoint, module, name] = [typed.text('endpoint'), typed.text('module'), typed.text('model')];
  if ((endpoint === undefined) === (module === undefined))
    throw new ArgumentsError('name the model: either --endpoint URL --model NAME, or --module FILE.');
  if (module !== undefined) {
    const { model } = await imported(module);
    if (typeof (model as Partial<Generator> | null)?.name === 'string') return model as Generator;
    throw new EvaluationError(
      'BAD_MODEL',
      `${module} exports ${showValue(model)} as "model"; it must be an object with a name.`,
    );
  }
  if (name === undefined) throw new ArgumentsError('--endpoint needs --model NAME.');
  const api = typed.text('api') ?? 'chat';
  if (api !== 'chat' && api !== 'completions')
    throw new ArgumentsError(`--api takes chat or completions, not "${api}".`);
  const apiKey = environment.POSTTRAIN_API_KEY ?? environment.OPENAI_API_KEY;
  const { openaiCompatible, openaiCompatibleScorer } = await openaiPackage();
  const where = { baseURL: endpoint!, model: name, ...(apiKey && { apiKey }) };
  return String(task.type) === 'multiple_choice' ? openaiCompatibleScorer(where) : openaiCompatible({ ...where, api });
}

async function openaiPackage(): Promise<typeof import('@posttrain/openai')> {
  try {
    return await import('@posttrain/openai');
  } catch (cause) {
    throw new EvaluationError('MISSING_PACKAGE', 'an endpoint needs @posttrain/openai: npm install @posttrain/openai', {
      cause,
    });
  }
}

async function imported(file: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return (await import(pathToFileURL(resolve(file)).href)) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    throw new EvaluationError('BAD_MODULE', `${file} could not be imported: ${(cause as Error).message}`, { cause });
  }
}

const definedOnly = <T extends object>(given: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as never;
