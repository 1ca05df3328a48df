import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CausalLM, loadWeights } from '@posttrain/lm';
import type { FuzzModule } from '../../../../testing/fuzz.js';
import { loadAdapter } from '../../src/index.js';
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

export const fuzzTargets: FuzzModule['fuzzTargets'] = {
  'adapter_config.json': loading('adapter_config.json'),
  'adapter_model.safetensors': loading('adapter_model.safetensors'),
};
