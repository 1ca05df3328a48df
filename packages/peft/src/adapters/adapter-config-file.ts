import { AdapterFileError } from './errors.js';
import type { TaskType } from './peft-adapter.js';
import type { PeftConfig, PeftMethod } from './peft-method.js';

/** The version of PEFT whose files these are. */
const PEFT_VERSION = '0.21.2';

/** Keys that say something about the adapter but change nothing. `fan_in_fan_out` follows from the architecture. */
const INFORMATIVE = new Set([
  'auto_mapping',
  'base_model_name_or_path',
  'fan_in_fan_out',
  'inference_mode',
  'peft_type',
  'peft_version',
  'revision',
]);

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** adapter_config.json as PEFT writes it: every key, sorted. */
export function toConfigFile<Config extends PeftConfig>(
  method: PeftMethod<Config>,
  config: Config,
  facts: { readonly baseModel: string; readonly fanInFanOut: boolean; readonly taskType: TaskType },
): string {
  const fields = {
    ...method.fileDefaults,
    ...Object.fromEntries(Object.entries(config).map(([name, value]) => [snakeCase(name), value])),
    auto_mapping: null,
    base_model_name_or_path: facts.baseModel,
    fan_in_fan_out: facts.fanInFanOut,
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
 */
export function fromConfigFile<Config extends PeftConfig>(
  method: PeftMethod<Config>,
  json: Readonly<Record<string, unknown>>,
  path: string,
  taskType: TaskType,
): Partial<Config> {
  const names = new Map(Object.keys(method.defaults).map((name) => [snakeCase(name), name]));
  const config: Record<string, unknown> = {};
  const active: string[] = [];
  for (const [key, value] of Object.entries(json)) {
    const name = names.get(key);
    if (name !== undefined) config[name] = value;
    else if (key === 'task_type') {
      if (value !== null && value !== taskType)
        active.push(`task_type ${JSON.stringify(value)} (the model is ${taskType})`);
    } else if (!INFORMATIVE.has(key) && !isInactive(value, method.fileDefaults[key])) {
      active.push(`${key} ${JSON.stringify(value)}`);
    }
  }
  if (active.length > 0) throw new AdapterFileError(path, `uses what is not supported: ${active.join(', ')}.`);
  return config as Partial<Config>;
}

const isInactive = (value: unknown, unused: unknown): boolean =>
  value === null || value === false || ['{}', '[]', JSON.stringify(unused)].includes(JSON.stringify(value));
