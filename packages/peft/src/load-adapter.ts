import { custom, type Given, options, text } from '@posttrain/interfaces';
import { assertFolder, assertModel, isMethod } from './adapters/arguments.js';
import type { LayerMethod } from './adapters/layer-method.js';
import type { AdaptableModel, PeftAdapter } from './adapters/peft-adapter.js';
import type { PeftMethod } from './adapters/peft-method.js';
import { readAdapter } from './adapters/read-adapter.js';
import { peftMethods } from './methods/peft-methods.js';

const loadAdapterOptions = options('loadAdapter', {
  /** Methods of your own, found by their `peftType`, beside those of this package. */
  methods: custom<readonly (PeftMethod | LayerMethod)[]>()(
    'a list of PEFT methods',
    (value) => Array.isArray(value) && value.every(isMethod),
    { default: [] },
  ),
  /** Options of the method in the place of the file's, such as where the `adapters` of X-LoRA are now. */
  config: custom<object>()('options of the method', (value) => typeof value === 'object' && value !== null, {
    default: {},
  }),
  /** Default `default`. */
  name: text({ default: 'default' }),
});
/** Options of `loadAdapter`. */
export type LoadAdapterOptions = Given<typeof loadAdapterOptions>;

/**
 * Loads an adapter folder of PEFT for a model. Strict both ways: a tensor that the configuration asks for and the file
 * lacks, one that is left over, and one of another shape are errors.
 *
 * @throws OptionError, AdapterFileError, TargetModulesError, AdapterConfigError, and what `openSafetensors` throws
 */
export async function loadAdapter(
  model: AdaptableModel,
  folder: string,
  given: LoadAdapterOptions = {},
): Promise<PeftAdapter> {
  assertModel('loadAdapter', model);
  assertFolder('loadAdapter', folder);
  const { methods, ...rest } = loadAdapterOptions.read(given);
  return readAdapter(model, folder, { ...rest, methods: [...methods, ...Object.values(peftMethods)] });
}
