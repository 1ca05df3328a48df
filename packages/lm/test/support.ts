import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Engine, Key, referenceEngine, type Tensor, tensor } from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { onEngine } from '@posttrain/core-tensor/testing';
import { onTestFinished } from 'vitest';
import {
  CausalLM,
  ChatTemplate,
  type DecodeRow,
  decode,
  type GenerationConfig,
  type ModelConfig,
  type Network,
  parseGenerationConfig,
  parseModelConfig,
  Tokenizer,
  type Weights,
} from '../src/index.js';

const goldens = join(import.meta.dirname, '../../../goldens');
export const goldenFolder = (name: string): string => join(goldens, name);
export const modelFolder = (name: string): string => join(goldens, 'models', name);
/** Golden folders of mixtures of experts, for `modelFolder`. */
export const MIXTURES = ['mixtral', 'qwen3-moe', 'qwen3-moe-sparse-step'].map(
  (name) => `../mixture-of-experts/${name}`,
);
/** All golden models that are a folder as transformers saves it. */
export const MODEL_FOLDERS = [
  ...['llama', 'llama3-rope', 'llama-bias-linear-rope', 'mistral', 'qwen2', 'qwen3', 'gpt2', 'smollm2'],
  ...['gemma2', 'gemma3-text', 'gemma3', 'phi3', 'phi3-longrope', 'olmo2'],
  ...MIXTURES,
];
export const tokenizerFolder = (name: string): string => join(goldens, 'tokenizers', name);

/** What must hold on every engine runs on each of these. */
export const ENGINES: readonly (readonly [name: string, make: () => Engine])[] = [
  ['reference', referenceEngine],
  ['onnxruntime', onnxruntimeEngine],
];

/** A golden folder's `expected.safetensors` and `expected.json`. */
export async function readGolden(folder: string) {
  const file = await openSafetensors(join(folder, 'expected.safetensors'));
  onTestFinished(() => file.close());
  const read = async (name: string): Promise<Tensor> => {
    const { data, shape, dtype } = await file.read(name);
    return tensor(data, shape, dtype);
  };
  const json = JSON.parse(await readFile(join(folder, 'expected.json'), 'utf8'));
  return { read, json, names: [...file.tensors.keys()] };
}

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'posttrain-lm-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A greedy row that ends at `maxTokens` only. */
export const rowOf = (prompt: readonly number[], maxTokens: number, overrides: Partial<DecodeRow> = {}): DecodeRow => ({
  prompt,
  maxTokens,
  temperature: 0,
  topK: undefined,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  key: Key.fromSeed(7),
  isEnd: () => false,
  ...overrides,
});

/** All tokens and log-probabilities of `decode`, by row. */
export async function decodeAll(
  { network, weights }: { readonly network: Network; readonly weights: Weights },
  rows: readonly DecodeRow[],
  options: Parameters<typeof decode>[3] = {},
) {
  const tokens = rows.map((): number[] => []);
  const logProbs = rows.map((): number[] => []);
  const finishes = rows.map((): string | undefined => undefined);
  for await (const event of decode(network, weights, rows, options)) {
    tokens[event.row]!.push(event.token);
    logProbs[event.row]!.push(event.logProb!);
    finishes[event.row] = event.finish;
  }
  return { tokens, logProbs, finishes };
}

/** Logits after each of `tokens`, in one pass without a cache, padding or batch, on the reference engine. */
export async function logitsOf(
  { network, weights }: { readonly network: Network; readonly weights: Weights },
  tokens: readonly number[],
): Promise<number[][]> {
  const grid = (values: readonly number[]): Tensor => tensor(Int32Array.from(values), [1, values.length], 'int32');
  const positions = grid(tokens.map((_, i) => i));
  const segments = grid(tokens.map(() => 1));
  const hidden = network.hidden(weights, { tokens: grid(tokens), positions, segments });
  const logits = network.logits(weights, hidden.reshape([tokens.length, -1]));
  const flat = await onEngine(referenceEngine(), () => logits.toArray());
  const width = flat.length / tokens.length;
  return tokens.map((_, i) => flat.slice(i * width, (i + 1) * width));
}

/** A small config of one of the supported kinds, in the words of config.json. */
export function tinyConfig(overrides: Readonly<Record<string, unknown>> = {}): ModelConfig {
  const sizes =
    overrides.model_type === 'gpt2'
      ? { n_embd: 16, n_layer: 2, n_head: 2, n_positions: 96 }
      : {
          hidden_size: 16,
          intermediate_size: 24,
          num_hidden_layers: 2,
          num_attention_heads: 2,
          num_key_value_heads: 1,
        };
  return parseModelConfig({
    model_type: 'llama',
    vocab_size: 64,
    max_position_embeddings: 96,
    bos_token_id: null,
    eos_token_id: null,
    // Large enough that a model of this size has opinions.
    initializer_range: 0.4,
    ...sizes,
    ...overrides,
  });
}

/** What generation_config.json may say, unsaid. */
export const EMPTY_GENERATION_CONFIG: GenerationConfig = parseGenerationConfig({});

/** A random model over one of the golden tokenizers, with an end token that it cannot draw. */
export async function tinyModel(
  kind = 'byte-level-bpe',
  overrides: Readonly<Record<string, unknown>> = {},
  seed = 3,
): Promise<CausalLM> {
  const tokenizer = await Tokenizer.load(tokenizerFolder(kind));
  const config = tinyConfig({ vocab_size: tokenizer.vocabSize, max_position_embeddings: 256, ...overrides });
  const chatTemplate = await ChatTemplate.load(tokenizer);
  const generationConfig = { ...EMPTY_GENERATION_CONFIG, eosTokenIds: [tokenizer.vocabSize] };
  return CausalLM.initialize({ config, tokenizer, chatTemplate, generationConfig, name: 'tiny' }, seed);
}

export const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), 0);
