import { isPosttrainError } from '@posttrain/interfaces';
import { AdapterFileError } from './errors.js';
import type { TaskType } from './peft-adapter.js';
import type { PeftMethod } from './peft-method.js';

/** The version of PEFT whose files these are. */
const PEFT_VERSION = '0.21.2';

/** Keys that say something about the adapter but change nothing. What follows from the architecture a method names. */
const INFORMATIVE = new Set([
  'auto_mapping',
  'base_model_name_or_path',
  'inference_mode',
  'peft_type',
  'peft_version',
  'revision',
]);

/** PEFT's own names that are not in snake case. */
const OWN_NAMES: Readonly<Record<string, string>> = { deltaT: 'deltaT', applyGS: 'apply_GS' };

const snakeCase = (name: string): string =>
  OWN_NAMES[name] ?? name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const camelCase = (name: string): string => name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

/** Options that are options of a part of the method, whose names are turned too: `evaConfig`. */
const isNested = (name: string): boolean => name.endsWith('Config');

const renamed = (value: unknown, by: (name: string) => string): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).map(([name, one]) => [by(name), one]))
    : value;

/** adapter_config.json as PEFT writes it: every key, sorted. */
export function toConfigFile<Config extends object>(
  method: PeftMethod<Config>,
  config: Config,
  facts: {
    readonly baseModel: string;
    readonly taskType: TaskType;
    /** `PeftMethod.facts`. */
    readonly ofMethod: Readonly<Record<string, unknown>>;
  },
): string {
  const fields = {
    ...method.fileDefaults,
    ...Object.fromEntries(
      Object.entries(config).map(([name, value]) => [
        snakeCase(name),
        isNested(name) ? renamed(value, snakeCase) : value,
      ]),
    ),
    auto_mapping: null,
    base_model_name_or_path: facts.baseModel,
    ...facts.ofMethod,
    inference_mode: true,
    peft_type: method.peftType,
    peft_version: PEFT_VERSION,
    revision: null,
    task_type: facts.taskType,
  };
  const sorted = Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(Object.fromEntries(sorted), null, 2);
}

/**
 * The options in a parsed adapter_config.json. Keys that are not ours are left alone while they are inactive (PEFT's
 * default, null, false or empty); an active one is an error that names it.
 *
 * @throws AdapterFileError
 */
export function fromConfigFile<Config extends object>(
  method: PeftMethod<Config>,
  json: Readonly<Record<string, unknown>>,
  path: string,
  taskType: TaskType,
): Config {
  const names = new Map(Object.keys(method.options.shape).map((name) => [snakeCase(name), name]));
  const config: Record<string, unknown> = {};
  const active: string[] = [];
  for (const [key, value] of Object.entries(json)) {
    const name = names.get(key);
    if (name !== undefined) config[name] = isNested(name) ? renamed(value, camelCase) : value;
    else if (key === 'task_type') {
      if (value !== null && value !== taskType)
        active.push(`task_type ${JSON.stringify(value)} (the model is ${taskType})`);
    } else if (
      !INFORMATIVE.has(key) &&
      !method.factNames?.includes(key) &&
      !isInactive(value, method.fileDefaults[key])
    ) {
      active.push(`${key} ${JSON.stringify(value)}`);
    }
  }
  if (active.length > 0) throw new AdapterFileError(path, `uses what is not supported: ${active.join(', ')}.`);
  try {
    return method.options.read(config as Partial<Config>);
  } catch (cause) {
    if (!isPosttrainError(cause)) throw cause;
    throw new AdapterFileError(path, `has what cannot be right: ${cause.message}`, { cause });
  }
}

const isInactive = (value: unknown, unused: unknown): boolean =>
  value === null || value === false || ['{}', '[]', JSON.stringify(unused)].includes(JSON.stringify(value));
