import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { assertKnownOptions, isPlainObject, showValue } from '@posttrain/interfaces';
import { parseDocument } from 'yaml';
import { EvaluationError } from '../errors.js';

/** A row of a dataset, as lm-evaluation-harness calls it. */
export type Doc = Readonly<Record<string, unknown>>;

/** `!function file.name` of a task file: Python, which is not run. `functions` of `lmEvalTask` stands for it, by this name. */
export class LmEvalFunction {
  constructor(readonly name: string) {}
}

/** A column, a Jinja template, a constant, or a function. */
export type LmEvalField = string | number | readonly unknown[] | Readonly<Record<string, unknown>> | LmEvalFunction;

/** One entry of `metric_list`; other keys are arguments of the metric. */
export interface LmEvalMetricConfig {
  readonly metric: string | LmEvalFunction;
  readonly aggregation?: string | LmEvalFunction;
  readonly higher_is_better?: boolean;
  readonly [argument: string]: unknown;
}

/** One entry of `filter_list`. */
export interface LmEvalFilterConfig {
  readonly name: string;
  readonly filter: readonly { readonly function: string; readonly [argument: string]: unknown }[];
}

/** A task, by the keys of lm-evaluation-harness 0.4.9 (`TaskConfig`). */
export interface LmEvalTaskConfig {
  readonly task: string;
  readonly task_alias?: string;
  readonly tag?: string | readonly string[];
  /** Where the harness has the rows from; here they are given (`splits` of `lmEvalTask`). */
  readonly dataset_path?: string;
  readonly dataset_name?: string;
  readonly dataset_kwargs?: Readonly<Record<string, unknown>>;
  readonly training_split?: string;
  readonly validation_split?: string;
  readonly test_split?: string;
  readonly fewshot_split?: string;
  readonly process_docs?: LmEvalFunction;
  readonly doc_to_text?: LmEvalField;
  readonly doc_to_target?: LmEvalField;
  readonly doc_to_choice?: LmEvalField;
  readonly process_results?: LmEvalFunction;
  readonly description?: string;
  /** Default " ". */
  readonly target_delimiter?: string;
  /** Default two line ends. */
  readonly fewshot_delimiter?: string;
  readonly fewshot_config?: {
    readonly sampler?: string;
    readonly samples?: readonly Doc[] | LmEvalFunction;
    readonly doc_to_text?: LmEvalField;
    readonly doc_to_target?: LmEvalField;
    readonly doc_to_choice?: LmEvalField;
  };
  readonly num_fewshot?: number;
  readonly metric_list?: readonly LmEvalMetricConfig[];
  /** Default `generate_until`. */
  readonly output_type?: (typeof OUTPUT_TYPES)[number];
  readonly generation_kwargs?: Readonly<Record<string, unknown>>;
  /** Completions of a problem. Default 1. */
  readonly repeats?: number;
  readonly filter_list?: readonly LmEvalFilterConfig[];
  readonly should_decontaminate?: boolean;
  readonly doc_to_decontamination_query?: string;
  readonly gen_prefix?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** One entry of `aggregate_metric_list`. */
export interface LmEvalAggregate {
  readonly metric: string;
  /** Default `mean`, and the only one. */
  readonly aggregation?: string;
  /** Default false, as in 0.4.9. */
  readonly weight_by_size?: boolean;
  /** Names of filters. Default `none`. */
  readonly filter_list?: string | readonly string[];
}

/** A group of tasks. Other keys are put into each of its tasks. */
export interface LmEvalGroupConfig {
  readonly group: string;
  readonly group_alias?: string;
  readonly task: string | readonly (string | Readonly<Record<string, unknown>>)[];
  readonly aggregate_metric_list?: LmEvalAggregate | readonly LmEvalAggregate[];
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly [override: string]: unknown;
}

export const OUTPUT_TYPES = ['generate_until', 'loglikelihood', 'loglikelihood_rolling', 'multiple_choice'] as const;
const TASK_KEYS = [
  ...[
    'task',
    'task_alias',
    'tag',
    'dataset_path',
    'dataset_name',
    'dataset_kwargs',
    'training_split',
    'validation_split',
  ],
  ...[
    'test_split',
    'fewshot_split',
    'process_docs',
    'doc_to_text',
    'doc_to_target',
    'doc_to_choice',
    'process_results',
  ],
  ...[
    'description',
    'target_delimiter',
    'fewshot_delimiter',
    'fewshot_config',
    'num_fewshot',
    'metric_list',
    'output_type',
  ],
  ...[
    'generation_kwargs',
    'repeats',
    'filter_list',
    'should_decontaminate',
    'doc_to_decontamination_query',
    'gen_prefix',
  ],
  'metadata',
];
const REFUSED_KEYS = {
  class: 'A task that is a Python class is not run.',
  custom_dataset: 'Give the rows as splits.',
  use_prompt: "Promptsource's templates are not here; write doc_to_text.",
  doc_to_image: 'Images are not asked about.',
  doc_to_audio: 'Sound is not asked about.',
  unsafe_code: 'Programs run in a sandbox only: benchmarks.humaneval with unitTests of @posttrain/sandbox.',
  group: 'It is a group: resolveLmEvalTasks gives its tasks.',
} as const;
const FEWSHOT_KEYS = ['sampler', 'samples', 'doc_to_text', 'doc_to_target', 'doc_to_choice'];

/** Throws unless a task has the keys of lm-evaluation-harness 0.4.9. @throws OptionError; EvaluationError `LM_EVAL_TASK` */
export function assertTaskConfig(config: LmEvalTaskConfig): void {
  const where = `lm-eval task ${showValue((config as Partial<LmEvalTaskConfig> | null)?.task)}`;
  const { unsafe_code: unsafe, ...rest } = config as LmEvalTaskConfig & { readonly unsafe_code?: boolean };
  assertKnownOptions(where, unsafe === true ? config : rest, TASK_KEYS, { hints: REFUSED_KEYS });
  assertKnownOptions(`${where}, fewshot_config`, config.fewshot_config ?? {}, FEWSHOT_KEYS);
  if (typeof config.task !== 'string') throw taskError(config, 'it has no name; "task" gives it one.');
  const { output_type: type = 'generate_until' } = config;
  if (!OUTPUT_TYPES.includes(type))
    throw taskError(config, `output_type is ${showValue(type)}; it must be one of ${OUTPUT_TYPES.join(', ')}.`);
}

/** What is wrong with a task, naming it. */
export const taskError = (task: { readonly task: string }, problem: string): EvaluationError =>
  new EvaluationError('LM_EVAL_TASK', `lm-eval task "${task.task}": ${problem}`);

/**
 * Reads a task or a group of lm-evaluation-harness (YAML 1.1, as PyYAML reads it): `include` files are looked for beside it and put under it,
 * `!function` becomes an `LmEvalFunction`.
 *
 * @throws EvaluationError `LM_EVAL_TASK` for what is no YAML, or an include that leads to itself; errors of the file system pass through
 */
export async function readLmEvalConfig(file: string): Promise<LmEvalTaskConfig | LmEvalGroupConfig> {
  return (await readWithIncludes(file, [])) as unknown as LmEvalTaskConfig | LmEvalGroupConfig;
}

async function readWithIncludes(file: string, within: readonly string[]): Promise<Record<string, unknown>> {
  const wrong = (problem: string) => new EvaluationError('LM_EVAL_TASK', `${file}: ${problem}`);
  if (within.includes(file)) throw wrong('it includes itself.');
  const document = parseDocument(await readFile(file, 'utf8'), {
    version: '1.1',
    customTags: [{ tag: '!function', resolve: (name: string) => new LmEvalFunction(name) }],
  });
  const [problem] = document.errors;
  if (problem) throw wrong(`it is no YAML: ${problem.message}`);
  let read: unknown;
  try {
    read = document.toJS();
  } catch (cause) {
    // Aliases that lead nowhere, or multiply.
    throw new EvaluationError('LM_EVAL_TASK', `${file}: it is no YAML: ${(cause as Error).message}.`, { cause });
  }
  const { include = [], ...own } = (read ?? {}) as Record<string, unknown>;
  if (!isPlainObject(own)) throw wrong('it is no mapping of keys to values.');
  const result: Record<string, unknown> = {};
  const names = typeof include === 'string' ? [include] : include;
  if (!Array.isArray(names)) throw wrong(`include is ${showValue(include)}; it must be a file or a list of files.`);
  // The last one first: an earlier include wins over a later one.
  for (const name of [...names].reverse()) {
    const path = isAbsolute(String(name)) ? String(name) : join(dirname(file), String(name));
    Object.assign(result, await readWithIncludes(path, [...within, file]));
  }
  return Object.assign(result, own);
}
