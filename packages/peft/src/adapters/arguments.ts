import { assertArgument } from '@posttrain/interfaces';

const has = (value: unknown, ...names: string[]): boolean =>
  typeof value === 'object' && value !== null && names.every((name) => name in value);

/** @throws OptionError for a path, an adapter and whatever else is no model */
export const assertModel = (where: string, model: unknown): void =>
  assertArgument(where, 'model', model, has(model, 'network', 'weights'), 'a loaded model, as CausalLM.load gives it');

export const isMethod = (value: unknown): boolean =>
  has(value, 'peftType', 'init', 'apply') || has(value, 'peftType', 'init', 'hooks');

/** @throws OptionError for a path, a model and whatever else is no adapter */
export const assertAdapter = (where: string, adapter: unknown): void =>
  assertArgument(
    where,
    'adapter',
    adapter,
    has(adapter, 'method', 'plan', 'parameters'),
    'an adapter, as createAdapter and loadAdapter give it',
  );

/** @throws OptionError for whatever is no path */
export const assertFolder = (where: string, folder: unknown): void =>
  assertArgument(where, 'folder', folder, typeof folder === 'string' && folder !== '', 'the path of a folder');

/** @throws OptionError for options in the place of the method */
export const assertMethod = (where: string, method: unknown): void =>
  assertArgument(where, 'method', method, isMethod(method), 'a PEFT method, such as lora');
