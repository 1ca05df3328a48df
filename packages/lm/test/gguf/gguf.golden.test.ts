import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { referenceEngine, setEngine, tensor } from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { BLOCK_TYPES } from '../../src/gguf/block-types.js';
import { BLOCK_ENCODERS, type WrittenType } from '../../src/gguf/encode-blocks.js';
import {
  CausalLM,
  ChatTemplate,
  GgufWriteError,
  loadModelConfig,
  loadWeights,
  saveGguf,
  Tokenizer,
  UnsupportedGgufError,
  type Weights,
} from '../../src/index.js';
import { largestDifference, modelFolder, tinyConfig } from '../support.js';
import { goldenFile, goldenFolder, logitsOf, withRouters } from './support.js';

const FLOAT_MODELS = [
  ...['llama', 'llama3-rope', 'llama-bias-linear-rope', 'qwen2', 'qwen3', 'gpt2', 'smollm2'],
  ...['gemma2', 'gemma3-text', 'phi3', 'phi3-longrope', 'olmo2', 'mixtral', 'qwen3-moe'],
];
const mixtureFolder = (name: string) => join(goldenFolder, '../mixture-of-experts', name);
/** What llama.cpp's format has no word for, and sets by the size of the model. */
const NOT_SAID: Readonly<Record<string, object>> = {
  gemma2: { queryPreAttnScalar: 16 },
  'gemma3-text': { queryPreAttnScalar: 16 },
};
const QUANTIZED_MODELS = ['bpe-q4_0', 'spm-q8_0', 'k-quants'];
const QUANTIZED_TYPES = [...BLOCK_TYPES.values()].filter(({ name }) => name.startsWith('Q'));

beforeAll(() => setEngine(referenceEngine()));

async function openGolden(name: string) {
  const file = await openSafetensors(join(goldenFolder, name));
  onTestFinished(() => file.close());
  return file;
}

describe.each(QUANTIZED_TYPES)('$name', ({ name, decode, size, bytes }) => {
  it('stands for the numbers that the gguf package gives, bit for bit', async () => {
    const file = await openGolden('blocks.safetensors');
    const stored = await file.read(`${name}.bytes`);
    const { data: expected } = await file.read(`${name}.values`);
    const count = stored.data.length / bytes;
    const values = new Float32Array(count * size);
    decode(stored.data as Uint8Array, values, count);
    expect(values).toEqual(expected);
  });
});

describe.each(FLOAT_MODELS)('%s', (name) => {
  it('has the weights and the config of the Hugging Face folder it was made of', async () => {
    const isMixture = ['mixtral', 'qwen3-moe'].includes(name);
    const folder = await loadWeights(isMixture ? mixtureFolder(name) : modelFolder(name));
    const { config, weights } = await loadWeights(goldenFile(name));
    // A GGUF file has one token that ends a generation, and does not say how the weights were drawn.
    const { initializerRange, dtype } = config;
    const shared = { initializerRange, dtype, eosTokenIds: [2], padTokenId: 0 };
    expect(config).toEqual({ ...folder.config, ...shared, ...NOT_SAID[name] });
    expect(Object.keys(weights)).toEqual(Object.keys(folder.weights));
    for (const [key, weight] of Object.entries(weights)) {
      const [found, expected] = [await weight.toArray(), await folder.weights[key]!.toArray()];
      // Adding 1 to a norm's weight rounded it.
      if (name.startsWith('gemma') && key.endsWith('norm.weight')) {
        expect(largestDifference(found, expected), key).toBeLessThan(2e-7);
      } else expect(found, key).toEqual(expected);
    }
  });
});

describe.each(QUANTIZED_MODELS)('%s', (name) => {
  it('gives the logits of transformers', async () => {
    const file = await openGolden('expected.safetensors');
    const { network, weights } = await CausalLM.load(goldenFile(name));
    const { data: ids, shape } = await file.read(`${name}.input_ids`);
    const logits = logitsOf(network, weights, tensor(ids, shape, 'int32'));
    const { data } = await file.read(`${name}.logits`);
    expect(largestDifference(await logits.toArray(), data)).toBeLessThan(1e-4);
  });
});

const typeNamed = (name: string) => [...BLOCK_TYPES.values()].find((type) => type.name === name)!;

function encoded(name: WrittenType, values: Float32Array): Uint8Array {
  const { size, bytes } = typeNamed(name);
  const out = new Uint8Array((values.length / size) * bytes);
  BLOCK_ENCODERS[name](values, out, values.length / size);
  return out;
}

function decoded(name: WrittenType, bytes: Uint8Array): Float32Array {
  const type = typeNamed(name);
  const count = bytes.length / type.bytes;
  const values = new Float32Array(count * type.size);
  type.decode(bytes, values, count);
  return values;
}

describe('written blocks', () => {
  it.each(['F16', 'BF16', 'Q8_0', 'Q5_0', 'Q4_0'] as const)('of %s are those of the gguf package', async (name) => {
    const file = await openGolden('encoded.safetensors');
    const { data } = await file.read('values');
    expect(encoded(name, data as Float32Array)).toEqual((await file.read(`${name}.bytes`)).data);
  });

  it('of Q4_K are nearer than those of llama.cpp', async () => {
    const file = await openGolden('q4-k-of-llama-cpp.safetensors');
    const { data, shape } = await file.read('values');
    const values = data as Float32Array;
    const own = decoded('Q4_K', encoded('Q4_K', values));
    const theirs = decoded('Q4_K', (await file.read('bytes')).data as Uint8Array);
    const width = shape[1]!;
    const error = (found: Float32Array, row: number) =>
      found
        .subarray(row * width, (row + 1) * width)
        .reduce((sum, x, i) => sum + (x - values[row * width + i]!) ** 2, 0);
    const ratios = Array.from({ length: shape[0]! }, (_, row) => (error(own, row) || 1) / (error(theirs, row) || 1));
    expect(Math.max(...ratios)).toBeLessThan(1.05);
    expect(ratios.reduce((product, ratio) => product * ratio, 1) ** (1 / ratios.length)).toBeLessThan(1);
  });
});

async function temporaryFile(name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'posttrain-gguf-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return join(folder, name);
}

async function valuesOf(weights: Weights): Promise<Record<string, Float32Array>> {
  const entries = Object.entries(weights).map(async ([name, weight]) => [name, await weight.toArray()] as const);
  return Object.fromEntries(await Promise.all(entries)) as unknown as Record<string, Float32Array>;
}

describe('saveGguf', () => {
  it.each([...FLOAT_MODELS, ...QUANTIZED_MODELS])('writes %s so that it is read back the same', async (name) => {
    const model = withRouters(await CausalLM.load(goldenFile(name)));
    const path = await temporaryFile('model.gguf');
    await saveGguf(model, path, { type: 'F32' });
    const again = await CausalLM.load(path);
    const { eosTokenIds } = again.config;
    expect(again.config).toEqual({ ...model.config, eosTokenIds });
    expect(again.endTokens).toEqual(model.endTokens);
    const probe = 'The theme: 12 things, “quoted”,\n\n  and thus it ends.';
    expect(again.tokenizer.encode(probe)).toEqual(model.tokenizer.encode(probe));
    expect(again.chatTemplate?.templates).toEqual(model.chatTemplate?.templates);
    const [found, expected] = [await valuesOf(again.weights), await valuesOf(model.weights)];
    expect(Object.keys(found)).toEqual(Object.keys(expected));
    for (const key of Object.keys(expected)) {
      expect(largestDifference(found[key]!, expected[key]!), key).toBeLessThanOrEqual(
        name.startsWith('gemma') ? 2e-7 : 0,
      );
    }
  });

  it.each(['F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_K'] as const)('rounds matrices to %s and nothing else', async (type) => {
    const model = await CausalLM.load(goldenFile('k-quants'));
    const path = await temporaryFile('model.gguf');
    await saveGguf(model, path, { type });
    const [found, expected] = [await valuesOf((await CausalLM.load(path)).weights), await valuesOf(model.weights)];
    const names = { Q4_K: 'Q5_0', F16: 'F16', BF16: 'BF16', Q8_0: 'Q8_0', Q4_0: 'Q4_0' } as const;
    for (const [key, values] of Object.entries(expected)) {
      const isNarrow = /o_proj|down_proj/.test(key);
      const isOutput = /embed/.test(key);
      const stored = isNarrow ? names[type] : isOutput && type.startsWith('Q') ? 'Q8_0' : type;
      const rounded = key.includes('norm') ? values : decoded(stored, encoded(stored, Float32Array.from(values)));
      expect(Float32Array.from(found[key]!), key).toEqual(Float32Array.from(rounded));
    }
  });

  it.each(['byte-level-bpe', 'sentencepiece-bpe'])('writes the tokenizer of goldens/tokenizers/%s', async (name) => {
    const stored = await Tokenizer.load(join(goldenFolder, '../tokenizers', name));
    const files = stored.files();
    // Of Unicode normalization a file has no word, so the golden's NFC goes.
    const isBytes = name === 'byte-level-bpe';
    const json = isBytes ? { ...files.tokenizer, normalizer: null } : files.tokenizer;
    const tokenizer = new Tokenizer({ ...files, tokenizer: json });
    const chatTemplate = await ChatTemplate.load(tokenizer);
    const parts = { config: tinyConfig({ vocab_size: tokenizer.vocabSize + 3 }), tokenizer, chatTemplate, name };
    const model = await CausalLM.initialize(parts, 1);
    const path = await temporaryFile('model.gguf');
    await saveGguf(model, path, { type: 'F32', name: 'tiny' });
    const again = await CausalLM.load(path);
    expect(await valuesOf(again.weights)).toEqual(await valuesOf(model.weights));
    // llama.cpp takes others by their text, too.
    expect([...again.endTokens]).toEqual(expect.arrayContaining([...model.endTokens]));
    expect(again.chatTemplate?.templates).toEqual(chatTemplate?.templates);
    if (isBytes) {
      const normalizing = new CausalLM({ ...model, tokenizer: stored });
      await expect(saveGguf(normalizing, path)).rejects.toThrow(/cuts text in none of the ways/);
    }
  });

  it('refuses by name what a file cannot say, and leaves no file', async () => {
    const model = await CausalLM.load(goldenFile('gemma2'));
    const path = await temporaryFile('model.gguf');
    const other = { ...model.config, queryPreAttnScalar: 7 } as typeof model.config;
    const parts = { ...model, config: other, network: undefined, name: 'odd' };
    await expect(saveGguf(new CausalLM(parts), path)).rejects.toThrow(/no word for the model's queryPreAttnScalar 7/);
    const weights = {
      ...model.weights,
      'model.embed_tokens.weight': model.weights['model.embed_tokens.weight']!.mul(1e9),
    };
    await expect(saveGguf(model.withWeights(weights), path)).rejects.toThrow(GgufWriteError);
    // Scales of blocks are float16: they would be infinite.
    for (const type of ['Q8_0', 'Q4_0', 'Q4_K'] as const) {
      const saved = saveGguf(model.withWeights(weights), path, { type, output: type });
      await expect(saved).rejects.toThrow(/which (Q8_0|Q5_0|Q4_0|F16) cannot hold. Take BF16 or F32/);
    }
    const granite = await loadModelConfig(join(goldenFolder, '../families/granite'));
    const config = { ...granite, vocabSize: model.config.vocabSize };
    await expect(saveGguf(new CausalLM({ ...model, config }), path)).rejects.toThrow(UnsupportedGgufError);
    const mixture = await CausalLM.load(goldenFile('qwen3-moe'));
    await expect(saveGguf(mixture, path)).rejects.toThrow(/layers without a router/);
    expect(await readdir(join(path, '..'))).toEqual([]);
  });
});
