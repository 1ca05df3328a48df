import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FuzzModule, FuzzTarget } from '../../../testing/fuzz.js';
import { CausalLM, generationConfigToJson, loadEmbedder, loadGenerationConfig, loadWeights } from '../src/index.js';

const goldens = join(import.meta.dirname, '../../../goldens');
const bytesOf = (...path: string[]) => new Uint8Array(readFileSync(join(goldens, ...path)));

/** Loads `folder` of the goldens, one of its files replaced by the mutant. The other files are laid once. */
function loading(
  source: readonly string[],
  file: string,
  load: (folder: string) => Promise<unknown>,
  corpus: () => readonly Uint8Array[] = () => [bytesOf(...source, file)],
) {
  const laid = new Set<string>();
  const run: FuzzTarget = async (mutant, { folder }) => {
    const name = source.join('-') + file.replaceAll('/', '-');
    const copy = join(folder, name);
    if (!laid.has(copy)) {
      cpSync(join(goldens, ...source), copy, { recursive: true });
      laid.add(copy);
    }
    writeFileSync(join(copy, file), mutant);
    await load(copy);
  };
  return { corpus, run };
}

const family = (name: string) => {
  const { config } = JSON.parse(readFileSync(join(goldens, 'config-keys', `${name}.json`), 'utf8'));
  return new TextEncoder().encode(JSON.stringify(config));
};

export const fuzzTargets: FuzzModule['fuzzTargets'] = {
  'config.json': {
    corpus: () => ['llama', 'mistral', 'qwen3-moe', 'gpt2', 'gemma3', 'phi3', 'olmo2', 'mixtral'].map(family),
    async run(mutant, { folder, index }) {
      const names = ['llama', 'mistral', 'qwen3-moe', 'gpt2', 'gemma3', 'phi3', 'olmo2', 'mixtral'];
      cpSync(
        join(goldens, 'config-keys', `${names[index % names.length]}.safetensors`),
        join(folder, 'model.safetensors'),
      );
      writeFileSync(join(folder, 'config.json'), mutant);
      await loadWeights(folder);
    },
  },
  'generation_config.json': {
    corpus: () => [
      bytesOf('models', 'llama3-rope', 'generation_config.json'),
      new TextEncoder().encode(
        '{"do_sample":true,"temperature":0.7,"top_k":20,"top_p":0.8,"max_new_tokens":9,"eos_token_id":[2,3],"num_beams":1}',
      ),
    ],
    async run(mutant, { folder }) {
      writeFileSync(join(folder, 'generation_config.json'), mutant);
      const config = await loadGenerationConfig(folder);
      if (config) generationConfigToJson(config);
    },
  },
  'model.safetensors': loading(['models', 'llama'], 'model.safetensors', (folder) => loadWeights(folder)),
  'index.json': loading(['models', 'mistral'], 'model.safetensors.index.json', (folder) => loadWeights(folder)),
  gguf: {
    corpus: () => ['bpe-q4_0', 'spm-q8_0', 'mixtral', 'phi3-longrope'].map((name) => bytesOf('gguf', `${name}.gguf`)),
    async run(mutant, { folder }) {
      const path = join(folder, 'model.gguf');
      writeFileSync(path, mutant);
      await CausalLM.load(path);
    },
  },
  'pooling config': loading(['embeddings', 'bert'], '1_Pooling/config.json', (folder) => loadEmbedder(folder)),
  'modules.json': loading(['embeddings', 'bert'], 'modules.json', (folder) => loadEmbedder(folder)),
  'sentence-transformers config': loading(
    ['embeddings', 'bert'],
    'config_sentence_transformers.json',
    (folder) => loadEmbedder(folder),
    () => [new TextEncoder().encode('{"prompts":{"query":"q: ","passage":""},"default_prompt_name":"query"}')],
  ),
  'sentence bert config': loading(['embeddings', 'bert'], 'sentence_bert_config.json', (folder) =>
    loadEmbedder(folder),
  ),
  'bert config': loading(['embeddings', 'bert'], 'config.json', (folder) => loadEmbedder(folder)),
  'head config': loading(['heads', 'qwen3-token'], 'config.json', (folder) => loadWeights(folder)),
};
