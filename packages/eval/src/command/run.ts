import { resolve } from 'node:path';
import type { Generator, OnProgress, Scorer } from '@posttrain/interfaces';
import { showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { evaluate } from '../evaluate.js';
import { type LmEvalGroup, lmEvalGroupMetrics } from '../lm-eval/group.js';
import type { LmEvalTask } from '../lm-eval/lm-eval-task.js';
import type { EvalResult } from '../log/format.js';
import type { GenerateTask } from '../task.js';
import { ArgumentsError, type Typed } from './arguments.js';
import { importModule } from './import-module.js';
import { isLmEvalSource, lmEvalTasksOf } from './lm-eval-files.js';
import { modelOfFolder } from './model-folder.js';

/** What `run` needs of the outside. */
export interface RunContext {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly onProgress?: OnProgress;
  /** Where relative files are, and packages that are not depended on. Default: the folder of the process. */
  readonly folder?: string;
}

/** What `run` comes to. */
export interface RunResults {
  readonly results: readonly EvalResult[];
  /** Of groups of lm-evaluation-harness, what is computed over their tasks. */
  readonly groups: readonly {
    readonly group: string;
    readonly metrics: ReturnType<typeof lmEvalGroupMetrics>;
  }[];
}

/** `posttrain-eval run`. @throws ArgumentsError, and what the task, the model and `evaluate` throw */
export async function runTasks(typed: Typed, context: RunContext): Promise<RunResults> {
  const { onProgress, folder = process.cwd() } = context;
  const [file, ...others] = typed.positionals;
  if (file === undefined || others.length > 0)
    throw new ArgumentsError('run takes one module with a task, or one task file of lm-evaluation-harness.');
  const isLmEval = await isLmEvalSource(file, typed, folder);
  const misplaced = ['split', 'functions', 'num-fewshot'].find((name) => typed.texts(name).length > 0);
  if (!isLmEval && misplaced !== undefined)
    throw new ArgumentsError(`--${misplaced} is for task files of lm-evaluation-harness (.yaml).`);
  const { tasks, groups }: { tasks: readonly AnyTask[]; groups: readonly LmEvalGroup[] } = isLmEval
    ? await lmEvalTasksOf(file, typed, folder)
    : { tasks: tasksOf(await importModule(resolve(folder, file)), file), groups: [] };
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
  const modelFor = await modelsOf(typed, context);
  for (const task of tasks) {
    const model = await modelFor(task);
    const name = `${task.name}-${model.name}`.replaceAll(/[^\w.-]+/g, '_');
    results.push(
      await evaluate(task as GenerateTask, model as Generator, {
        ...settings,
        log: resolve(folder, log ?? `logs/${name}.jsonl`),
      }),
    );
  }
  const byTask = Object.fromEntries(results.map((result) => [result.config.task, result]));
  return { results, groups: groups.map((of) => ({ group: of.group, metrics: lmEvalGroupMetrics(of, byTask) })) };
}

type AnyTask = GenerateTask | LmEvalTask;

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

/** Which model a task is asked of; what does not depend on the task is loaded once. */
async function modelsOf(
  typed: Typed,
  { environment, folder = process.cwd() }: RunContext,
): Promise<(task: AnyTask) => Promise<Generator | Scorer>> {
  const [endpoint, module, place, name] = ['endpoint', 'module', 'folder', 'model'].map((option) => typed.text(option));
  if ([endpoint, module, place].filter((one) => one !== undefined).length !== 1)
    throw new ArgumentsError('name the model: one of --folder FOLDER, --endpoint URL --model NAME, or --module FILE.');
  if (place !== undefined) {
    const model = await modelOfFolder(place, folder);
    return async () => model;
  }
  if (module !== undefined) {
    const { model } = await importModule(resolve(folder, module));
    if (typeof (model as Partial<Generator> | null)?.name === 'string') return async () => model as Generator;
    throw new EvaluationError(
      'BAD_MODEL',
      `${module} exports ${showValue(model)} as "model"; it must be an object with a name.`,
    );
  }
  if (name === undefined) throw new ArgumentsError('--endpoint needs --model NAME.');
  const apiKey = environment.POSTTRAIN_API_KEY ?? environment.OPENAI_API_KEY;
  const { openaiCompatible, openaiCompatibleScorer } = await openaiPackage();
  const where = { baseURL: endpoint!, model: name, ...(apiKey && { apiKey }) };
  return async (task) => {
    const output = task.type === 'lm_eval' ? (task.lmEval.shape.config.output_type ?? 'generate_until') : undefined;
    if (output === 'loglikelihood_rolling')
      throw new EvaluationError(
        'BAD_MODEL',
        `${task.name} asks for whole texts (loglikelihood_rolling), which an endpoint does not score; use --folder.`,
      );
    // The harness's prompts are plain text, which a chat would wrap.
    const api = typed.text('api') ?? (output === undefined ? 'chat' : 'completions');
    if (api !== 'chat' && api !== 'completions')
      throw new ArgumentsError(`--api takes chat or completions, not "${api}".`);
    const isScored = String(task.type) === 'multiple_choice' || (output !== undefined && output !== 'generate_until');
    return isScored ? openaiCompatibleScorer(where) : openaiCompatible({ ...where, api });
  };
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

const definedOnly = <T extends object>(given: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as never;
