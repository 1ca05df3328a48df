import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CausalLM, loadWeights } from '@posttrain/lm';
import type { FuzzModule } from '../../../../testing/fuzz.js';
import { loadAdapter, mergeMethods, readMergeRecipe } from '../../src/index.js';
import { checkRecipe } from '../../src/merging/recipe.js';
import { modelOf } from '../model.js';

const goldens = join(import.meta.dirname, '../../../../goldens');
const ADAPTERS = [
  ...['llama-patterns', 'llama-regex-target', 'llama-layers', 'llama-modules-to-save', 'llama-dora'].map(
    (name) => `lora/${name}`,
  ),
  ...['adalora', 'houlsby', 'ia3', 'ln-tuning', 'pissa', 'prefix-tuning', 'prompt-tuning', 'vera'].map(
    (name) => `peft-methods/${name}-llama`,
  ),
  ...['cpt', 'p-tuning', 'prefix-projection', 'shira'].map((name) => `peft-methods/${name}-llama`),
];
let base: Promise<CausalLM> | undefined;

/** Loads an adapter of the goldens, one of its files replaced by the mutant. */
const loading = (file: string): FuzzModule['fuzzTargets'][string] => ({
  corpus: () => ADAPTERS.map((name) => new Uint8Array(readFileSync(join(goldens, name, file)))),
  async run(mutant, { folder, index }) {
    base ??= loadWeights(join(goldens, 'models/llama')).then((parts) => modelOf(parts));
    const name = ADAPTERS[index % ADAPTERS.length]!;
    const copy = join(folder, name);
    mkdirSync(copy, { recursive: true });
    for (const each of ['adapter_config.json', 'adapter_model.safetensors']) {
      cpSync(join(goldens, name, each), join(copy, each));
    }
    writeFileSync(join(copy, file), mutant);
    await loadAdapter(await base, copy);
  },
});

const RECIPES = [
  'merge_method: linear\nmodels:\n  - model: a\n    parameters: { weight: 0.5 }\n  - model: b\ndtype: bfloat16\n',
  'merge_method: ties\nbase_model: base\nmodels: [{model: a}, {model: b}]\nparameters:\n  density: [0.2, 1]\n  weight:\n    - filter: mlp\n      value: 0.5\n    - value: 1\n',
  'merge_method: passthrough\nslices:\n  - sources: &s [{model: a, layer_range: [0, 2]}]\n  - sources: *s\nout_dtype: float16\nname: twice\n',
  'merge_method: slerp\nbase_model: a\nslices:\n  - sources:\n      - { model: a, layer_range: [0, 2] }\n      - { model: b, layer_range: [0, 2] }\nparameters: { t: 0.3 }\ntokenizer_source: base\n',
];

/** Reads a recipe and holds it to the keys that there are. */
const reading: FuzzModule['fuzzTargets'][string] = {
  corpus: () => RECIPES.map((recipe) => new TextEncoder().encode(recipe)),
  async run(mutant, { folder }) {
    const path = join(folder, 'recipe.yaml');
    writeFileSync(path, mutant);
    checkRecipe(await readMergeRecipe(path), mergeMethods, path);
  },
};

export const fuzzTargets: FuzzModule['fuzzTargets'] = {
  'recipe.yaml': reading,
  'adapter_config.json': loading('adapter_config.json'),
  'adapter_model.safetensors': loading('adapter_model.safetensors'),
};
