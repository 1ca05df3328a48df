import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { iota, Key, mapTree, normal, setEngine, type Tensor, tensor, zeros } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Adapter,
  CausalLM,
  type ExportGeneratorOptions,
  exportGenerator,
  loadWeights,
  Tokenizer,
} from '../src/index.js';
import { generateExported } from './exported-generator.js';
import {
  EMPTY_GENERATION_CONFIG,
  largestDifference,
  MODEL_FOLDERS,
  modelFolder,
  readGolden,
  temporaryFolder,
  tinyModel,
  tokenizerFolder,
} from './support.js';

beforeAll(() => setEngine(onnxruntimeEngine()));

describe('an exported model in sessions of its own', () => {
  it.each(MODEL_FOLDERS)('%s: continues prompts greedily as transformers does', async (name) => {
    const { read, json } = await readGolden(modelFolder(name));
    const { config, weights } = await loadWeights(modelFolder(name));
    // The golden models have no text: any tokenizer will do, if the config says that its ids fit.
    const tokenizer = await Tokenizer.load(tokenizerFolder('byte-level-bpe'));
    const vocabSize = Math.max(config.vocabSize, tokenizer.vocabSize);
    const model = new CausalLM({ config: { ...config, vocabSize }, weights, tokenizer, name });
    const expected = await (await read('greedy.ids')).toArray();
    for (const operators of ['standard', 'contrib'] as const) {
      const folder = await temporaryFolder();
      const manifest = await exportGenerator(model, folder, { capacity: 32, promptWidth: 4, operators });
      const endless = { ...manifest, endTokens: [] };
      for (const [i, prompt] of (json['greedy.prompts'] as number[][]).entries()) {
        const { tokens } = await generateExported(folder, endless, prompt, 24);
        expect(tokens).toEqual(expected.slice(24 * i, 24 * (i + 1)));
      }
    }
  });

  const prompt = Array.from({ length: 21 }, (_, i) => (i * 37) % 90);

  /** The logits of one pass over prompt and completion that chose each token of the completion. */
  async function logitsInOnePass(model: CausalLM, tokens: readonly number[], adapter?: Adapter): Promise<number[][]> {
    const all = [...prompt, ...tokens].slice(0, -1);
    const row = [1, all.length];
    const input = {
      tokens: tensor(Int32Array.from(all), row, 'int32'),
      positions: iota(row, 1),
      segments: zeros(row, 'int32'),
    };
    const hooks = adapter?.hooks(adapter.parameters);
    const hidden = model.network.hidden(model.weights, input, hooks).reshape([all.length, -1]);
    const logits = model.network.logits(model.weights, hidden, hooks);
    const numbers = await logits.toArray();
    const width = logits.shape[1]!;
    return tokens.map((_, i) => numbers.slice((prompt.length - 1 + i) * width, (prompt.length + i) * width));
  }

  const scales = normal(Key.fromSeed(9).toTensor(), [16, 16]).mul(0.3);
  const adapter: Adapter<{ readonly mix: Tensor }> = {
    name: 'mix',
    parameters: { mix: scales },
    hooks: ({ mix }) => ({
      linear: (x, layer) => (layer.inFeatures === 16 ? layer.apply(x.matmul(mix).add(x)) : layer.apply(x)),
    }),
  };

  it.each<[string, ExportGeneratorOptions]>([
    ['standard operators', { operators: 'standard' }],
    ['contrib operators', {}],
    ['an adapter, standard operators', { adapter, operators: 'standard' }],
    ['an adapter and a promptWidth', { adapter, promptWidth: 16 }],
    ['matrices in float16', { dtype: 'float16' }],
  ])('with %s: has the logits of one pass without a cache', async (_, options) => {
    const folder = await temporaryFolder();
    const model = await tinyModel('byte-level-bpe', { head_dim: 8 });
    const manifest = await exportGenerator(model, folder, { capacity: 64, promptWidth: 8, ...options });
    const { tokens, logits } = await generateExported(folder, manifest, prompt, 12);
    expect(tokens).toHaveLength(12);
    const half = (w: Tensor) => (w.rank === 2 ? w.cast('float16').cast('float32') : w);
    const exact = options.dtype === 'float16' ? model.withWeights(mapTree(model.weights, half)) : model;
    const expected = await logitsInOnePass(exact, tokens, options.adapter);
    for (const [i, row] of expected.entries()) expect(largestDifference(row, logits[i]!)).toBeLessThan(2e-5);
    const decoder = await readFile(join(folder, 'decode.onnx'), 'latin1');
    expect(decoder.includes('GroupQueryAttention')).toBe(options.operators !== 'standard');
    expect(decoder.includes('com.microsoft')).toBe(options.operators !== 'standard');
    // And the weights are those of the folder: without the adapter, or in float32, the logits are others.
    const [other] = await logitsInOnePass(model, tokens);
    if (options.adapter || options.dtype) expect(largestDifference(other!, logits[0]!)).toBeGreaterThan(1e-4);
  });

  it('ends where generate ends, and has the tokenizer beside it', async () => {
    const folder = await temporaryFolder();
    const model = await tinyModel();
    const all = (await exportAndGenerate(model, folder, 12)).tokens;
    const ending = { ...EMPTY_GENERATION_CONFIG, eosTokenIds: [all[5]!, all[9]!] };
    const { config, weights, tokenizer, name } = model;
    const other = new CausalLM({ config, weights, tokenizer, name, generationConfig: ending });
    const { tokens, manifest } = await exportAndGenerate(other, folder, 12);
    expect(tokens).toEqual(all.slice(0, all.indexOf(all[5]!) + 1));
    expect(JSON.parse(await readFile(join(folder, 'generator.json'), 'utf8'))).toEqual(manifest);
    expect(await Tokenizer.load(folder).then((loaded) => loaded.encode('one 2'))).toEqual(tokenizer.encode('one 2'));
  });

  async function exportAndGenerate(model: CausalLM, folder: string, maxTokens: number) {
    const manifest = await exportGenerator(model, folder, { capacity: 64 });
    return { manifest, ...(await generateExported(folder, manifest, prompt, maxTokens)) };
  }
});

describe('the folder', () => {
  it('has the weights once, under their names, and half as large in float16', async () => {
    const folder = await temporaryFolder();
    const model = await tinyModel();
    await exportGenerator(model, join(folder, 'float32'));
    await exportGenerator(model, join(folder, 'float16'), { dtype: 'float16' });
    const sizeOf = async (name: string) => (await stat(join(folder, name, 'weights.data'))).size;
    const elements = Object.values(model.weights).reduce((sum, w) => sum + w.size, 0);
    // Small tensors are in the models, and others start on pages of 4096 bytes.
    expect(await sizeOf('float32')).toBeGreaterThan(3 * elements);
    expect(await sizeOf('float16')).toBeLessThan(0.6 * (await sizeOf('float32')));
    for (const file of ['prefill.onnx', 'decode.onnx']) {
      const text = await readFile(join(folder, 'float32', file), 'latin1');
      for (const name of Object.keys(model.weights)) expect(text).toContain(name);
    }
  });

  it('stays as it was when the export fails', async () => {
    const folder = await temporaryFolder();
    const model = await tinyModel();
    await exportGenerator(model, folder, { capacity: 64 });
    await writeFile(join(folder, 'mine.txt'), 'mine');
    const before = await contents(folder);
    const { tokenizer: _, ...rest } = model;
    const unsaved = new Tokenizer({ tokenizer: JSON.parse(await readFile(join(folder, 'tokenizer.json'), 'utf8')) });
    unsaved.save = () => Promise.reject(new Error('the disk is full'));
    const broken = new CausalLM({ ...rest, weights: model.weights, tokenizer: unsaved });
    await expect(exportGenerator(broken, folder, { capacity: 32 })).rejects.toThrow(/disk is full/);
    expect(await contents(folder)).toEqual(before);
  });

  const contents = async (folder: string) => {
    const names = (await readdir(folder)).sort();
    return Promise.all(names.map(async (name) => [name, (await readFile(join(folder, name))).toString('base64')]));
  };

  it('refuses recurrent states', async () => {
    const sizes = { num_heads: 4, head_dim: 8, n_groups: 2, state_size: 6 };
    const model = await tinyModel('byte-level-bpe', { model_type: 'mamba2', ...sizes });
    const folder = join(await temporaryFolder(), 'out');
    await expect(exportGenerator(model, folder, {})).rejects.toThrow(/mamba2 has recurrent layers/);
  });

  it.each<[ExportGeneratorOptions, RegExp]>([
    [{ capacity: 257 }, /from 2 to 256/],
    [{ capacity: 2.5 }, /capacity is 2.5; it must be a whole number of at least 2/],
    [{ capacity: 64, promptWidth: 48 }, /48 does not divide 64/],
    [{ width: 3 } as never, /Known options: .*promptWidth/],
  ])('refuses %j', async (options, message) => {
    const folder = await temporaryFolder();
    await expect(exportGenerator(await tinyModel(), join(folder, 'out'), options)).rejects.toThrow(message);
    expect(await readdir(folder)).toEqual([]);
  });
});
