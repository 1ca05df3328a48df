import { join } from 'node:path';
import { referenceEngine, setEngine, tensor } from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { BLOCK_TYPES } from '../../src/gguf/block-types.js';
import { CausalLM, loadWeights } from '../../src/index.js';
import { largestDifference, modelFolder } from '../support.js';
import { goldenFile, goldenFolder, logitsOf } from './support.js';

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
