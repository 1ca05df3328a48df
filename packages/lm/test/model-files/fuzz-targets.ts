import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FuzzModule } from '../../../../testing/fuzz.js';
import { loadEncoderConfig } from '../../src/config/index.js';
import { loadEncoderWeights } from '../../src/embed/bert-encoder.js';
import { readSentenceTransformersFolder } from '../../src/embed/sentence-transformers.js';
import { CausalLM, generationConfigToJson, loadGenerationConfig, loadWeights } from '../../src/index.js';
import { encoderNetwork } from '../../src/model/encoder.js';

const goldens = join(import.meta.dirname, '../../../../goldens');
const bytesOf = (...path: string[]) => new Uint8Array(readFileSync(join(goldens, ...path)));
const textBytes = (text: string) => new TextEncoder().encode(text);

/** A file of a folder: what its mutants are made of, and how the folder is loaded with one. */
interface FuzzedFile {
  readonly corpus: readonly Uint8Array[];
  /** `turn`: which of the corpus the mutant is of. */
  load(mutant: Uint8Array, folder: string, turn: number): Promise<unknown>;
}

/** `folder` of the goldens, which is laid once, with one of its files replaced. */
function inFolder(
  source: string,
  file: string,
  load: (folder: string) => Promise<unknown>,
  corpus: readonly Uint8Array[] = [bytesOf(source, file)],
): FuzzedFile {
  return {
    corpus,
    load(mutant, folder) {
      const copy = join(folder, `${source}/${file}`.replaceAll('/', '-'));
      if (!existsSync(copy)) cpSync(join(goldens, source), copy, { recursive: true });
      writeFileSync(join(copy, file), mutant);
      return load(copy);
    },
  };
}

const FAMILIES = ['llama', 'mistral', 'qwen3-moe', 'gpt2', 'gemma3', 'phi3', 'olmo2', 'mixtral'];
const config: FuzzedFile = {
  corpus: FAMILIES.map((name) => {
    const table = JSON.parse(readFileSync(join(goldens, 'config-keys', `${name}.json`), 'utf8'));
    return textBytes(JSON.stringify(table.config));
  }),
  load(mutant, folder, turn) {
    const weights = join(goldens, 'config-keys', `${FAMILIES[turn]}.safetensors`);
    cpSync(weights, join(folder, 'model.safetensors'));
    writeFileSync(join(folder, 'config.json'), mutant);
    return loadWeights(folder);
  },
};
const generation = async (folder: string) => {
  const read = await loadGenerationConfig(folder);
  return read && generationConfigToJson(read);
};
const SAMPLING =
  '{"do_sample":true,"temperature":0.7,"top_k":20,"max_new_tokens":9,"eos_token_id":[2,3],"num_beams":1}';
const PROMPTS = '{"prompts":{"query":"q: ","passage":""},"default_prompt_name":"query"}';

/** Weights in 4 bits, of compressed-tensors, GPTQ and AWQ. */
const PACKED = ['quantization-search/llama-packed', 'packed-int4/gptq', 'packed-int4/awq'];

const JSON_FILES: readonly FuzzedFile[] = [
  config,
  inFolder('models/llama3-rope', 'generation_config.json', generation, [
    bytesOf('models/llama3-rope', 'generation_config.json'),
    textBytes(SAMPLING),
  ]),
  inFolder('models/mistral', 'model.safetensors.index.json', (folder) => loadWeights(folder)),
  inFolder('embeddings/bert', '1_Pooling/config.json', readSentenceTransformersFolder),
  inFolder('embeddings/bert', 'modules.json', readSentenceTransformersFolder),
  inFolder('embeddings/bert', 'config_sentence_transformers.json', readSentenceTransformersFolder, [
    textBytes(PROMPTS),
  ]),
  inFolder('embeddings/bert', 'sentence_bert_config.json', readSentenceTransformersFolder),
  inFolder('embeddings/bert', 'config.json', async (folder) =>
    loadEncoderWeights(folder, encoderNetwork(await loadEncoderConfig(folder))),
  ),
  inFolder('heads/qwen3-token', 'config.json', (folder) => loadWeights(folder)),
  ...PACKED.map((name) => inFolder(name, 'config.json', (folder) => loadWeights(folder))),
];

/** Files in turn, so that one process does for all of them. */
function inTurn(files: readonly FuzzedFile[]): FuzzModule['fuzzTargets'][string] {
  const round = Math.max(...files.map(({ corpus }) => corpus.length));
  const turnOf = (index: number) => {
    const file = files[index % files.length]!;
    return { file, turn: (Math.floor(index / files.length) % round) % file.corpus.length };
  };
  return {
    corpus: () =>
      Array.from({ length: files.length * round }, (_, i) => {
        const { file, turn } = turnOf(i);
        return file.corpus[turn]!;
      }),
    run(mutant, { folder, index }) {
      const { file, turn } = turnOf(index);
      return file.load(mutant, folder, turn);
    },
  };
}

const GGUF = ['bpe-q4_0', 'spm-q8_0', 'mixtral', 'phi3-longrope'];
const gguf: FuzzedFile = {
  corpus: GGUF.map((name) => bytesOf('gguf', `${name}.gguf`)),
  load(mutant, folder) {
    const path = join(folder, 'model.gguf');
    writeFileSync(path, mutant);
    return CausalLM.load(path);
  },
};

export const fuzzTargets: FuzzModule['fuzzTargets'] = {
  json: inTurn(JSON_FILES),
  binary: inTurn([
    ...['models/llama', ...PACKED].map((name) => inFolder(name, 'model.safetensors', (folder) => loadWeights(folder))),
    gguf,
  ]),
};
