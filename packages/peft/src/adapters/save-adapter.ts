import { join } from 'node:path';
import { stageSafetensors } from '@posttrain/core-tensor/io';
import { type Given, options, text } from '@posttrain/interfaces';
import { writeAtomically } from '@posttrain/interfaces/node';
import { toConfigFile } from './adapter-config-file.js';
import { assertAdapter, assertFolder } from './arguments.js';
import { storedNumbers, toFileTensors } from './file-tensors.js';
import type { PeftAdapter } from './peft-adapter.js';
import type { PeftMethod } from './peft-method.js';

/** The files of an adapter folder, and what PEFT puts before the names of its tensors. */
export const CONFIG = 'adapter_config.json';
export const TENSORS = 'adapter_model.safetensors';
const PREFIX = 'base_model.model.';

/** The key that a tensor has in files of a method. */
export const fileKeyOf = ({ fileKey }: Pick<PeftMethod, 'fileKey'>): ((name: string) => string) =>
  fileKey ?? ((name) => PREFIX + name);

const saveAdapterOptions = options('saveAdapter', {
  /** What adapter_config.json names as the base. Default: the name of the model the adapter was made for. */
  baseModel: text({ optional: true }),
});
/** Options of `saveAdapter`. */
export type SaveAdapterOptions = Given<typeof saveAdapterOptions>;

/**
 * Writes adapter_config.json and adapter_model.safetensors as PEFT does, from where PEFT and everything that reads its
 * adapters load them: both or neither. Over an older adapter, a reader finds the old one or the new one.
 */
export async function saveAdapter<Config extends object>(
  folder: string,
  adapter: PeftAdapter<Config>,
  given: SaveAdapterOptions = {},
): Promise<void> {
  assertFolder('saveAdapter', folder);
  assertAdapter('saveAdapter', adapter);
  const { baseModel = adapter.baseModel } = saveAdapterOptions.read(given);
  const { method, config, plan, parameters, frozen, model, taskType } = adapter;
  const context = { config, plan, model };
  const tensors = Object.entries(toFileTensors(method, context, { trained: parameters, frozen }));
  const ofMethod = method.facts?.(context) ?? {};
  const json = toConfigFile(method, method.fileConfig?.(config) ?? config, { baseModel, taskType, ofMethod });
  await writeAtomically(async (files) => {
    await files.stage(join(folder, CONFIG), (write) => write(new TextEncoder().encode(json)));
    await stageSafetensors(
      files,
      join(folder, TENSORS),
      tensors.map(([name, value]) => ({
        name: fileKeyOf(method)(name),
        dtype: value.dtype === 'int32' ? ('int32' as const) : ('float32' as const),
        shape: value.shape,
        data: async () => (await storedNumbers(value)).data,
      })),
    );
  });
}
