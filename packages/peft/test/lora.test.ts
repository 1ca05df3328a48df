import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Key, referenceEngine, setEngine, type Tensor, tensor, valueAndGrad, zeros } from '@posttrain/core-tensor';
import { openSafetensors, writeSafetensors } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { leftSingularVectors } from '@posttrain/core-tensor/optim';
import { onEngine } from '@posttrain/core-tensor/testing';
import type { LinearLayer } from '@posttrain/lm';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { countChanges, failingAt, killedAt } from '../../../testing/crash.js';
import { layerInputs, weightGradients } from '../src/adapters/row-passes.js';
import {
  createAdapter,
  type LoftqResult,
  type LoraConfig,
  loadAdapter,
  loftq,
  lora,
  mergeAdapter,
  saveAdapter,
  unmergeAdapter,
  withAdapterParameters,
} from '../src/index.js';
import { testPeftMethod } from '../src/testing/index.js';
import { tinyModel } from '../src/testing/tiny-model.js';

const failing = (at: number, work: () => Promise<void>) =>
  failingAt(at, 'ENOSPC', work).catch((error: unknown) => expect(String(error)).toMatch(/ENOSPC/));

beforeAll(() => setEngine(referenceEngine()));

/** What starts are made from: every token of the tiny models' vocabulary once, in an order of no meaning. */
const ROWS = [0, 10, 20, 30].map((first) => Array.from({ length: 10 }, (_, i) => (7 * (first + i)) % 40));

describe('conformance', () => {
  testPeftMethod(it, lora);
  testPeftMethod(it, lora, { r: 3, useRslora: true, targetModules: 'all-linear', initLoraWeights: 'gaussian' });
  testPeftMethod(it, lora, { r: 2, loraBias: true, targetModules: ['q_proj'] }, { modelTypes: ['qwen2'] });
  testPeftMethod(
    it,
    lora,
    { r: 2, useDora: true, targetModules: ['embed_tokens', 'v_proj', 'lm_head'] },
    { modelTypes: ['llama', 'qwen2'] },
  );
  testPeftMethod(it, lora, { r: 2, targetModules: ['wte', 'wpe', 'c_fc'], useDora: true }, { modelTypes: ['gpt2'] });
  testPeftMethod(
    it,
    lora,
    { targetModules: ['q_proj'], modulesToSave: ['lm_head', 'embed_tokens'] },
    { modelTypes: ['qwen2'] },
  );
  testPeftMethod(it, lora, { targetModules: ['q_proj'], bias: 'all' }, { modelTypes: ['qwen2'] });
  const tied = { ensureWeightTying: true, targetModules: ['q_proj', 'embed_tokens'] } as const;
  testPeftMethod(it, lora, { r: 2, ...tied }, { modelTypes: ['qwen2'] });
  testPeftMethod(
    it,
    lora,
    { ...tied, targetModules: ['q_proj'], modulesToSave: ['lm_head'] },
    { modelTypes: ['qwen2'] },
  );
  const starts: readonly Partial<LoraConfig>[] = [
    { initLoraWeights: 'orthogonal', r: 2 },
    { initLoraWeights: 'eva', r: 1, evaConfig: { rho: 3 } },
    { initLoraWeights: 'corda', r: 2, useRslora: true },
    { initLoraWeights: 'lora_ga', r: 2, loraGaConfig: { direction: 'random' } },
  ];
  for (const start of starts) testPeftMethod(it, lora, start, { modelTypes: ['gpt2'], rows: ROWS });
});

/** A bare linear layer of the given weight. */
const layerOf = (weight: Tensor): LinearLayer => ({
  name: 'l',
  kind: 'linear',
  inFeatures: weight.shape[1]!,
  outFeatures: weight.shape[0]!,
  layer: 0,
  transposed: false,
  weight,
  bias: undefined,
  apply: (x) => x.matmul(weight, { transposeB: true }),
});
const config = (options: Partial<LoraConfig>): LoraConfig => ({ ...lora.options.read({}), ...options });

describe('the formula', () => {
  it('is W x + (alpha / r) B A x, or alpha / sqrt(r) for rsLoRA, by hand', async () => {
    const layer = layerOf(tensor([[1, 2], [3, 4]])); // biome-ignore format: matrices
    const parameters = {
      'lora_A.weight': tensor([[1, 0], [0, 1], [1, 1], [2, 0]]), // biome-ignore format: matrices
      'lora_B.weight': tensor([[1, 0, 0, 0], [0, 1, 1, 1]]), // biome-ignore format: matrices
    };
    // W x = [5, 11], A x = [1, 2, 3, 2], B A x = [1, 7].
    const of = (options: Partial<LoraConfig>) =>
      lora.apply(tensor([[1, 2]]), layer, parameters, config({ r: 4, loraAlpha: 8, ...options })).toArray();
    expect(await of({})).toEqual([7, 25]);
    expect(await of({ useRslora: true })).toEqual([9, 39]);
    expect(await of({ rankPattern: { l: 2 }, alphaPattern: { '.*': 1 } })).toEqual([5.5, 14.5]);
  });

  it('keeps DoRA at the norm it says: rows of W′ have the length of the magnitude', async () => {
    const layer = layerOf(tensor([[3, 4], [1, -1]])); // biome-ignore format: matrices
    const options = config({ r: 1, loraAlpha: 1, useDora: true });
    const parameters = {
      'lora_A.weight': tensor([[1, 2]]),
      'lora_B.weight': tensor([[0.5], [-1]]),
      lora_magnitude_vector: tensor([10, 0.25]),
    };
    const { weight } = lora.merge!(layer, parameters, options);
    const lengths = await weight.square().sum(1).sqrt().toArray();
    expect(lengths[0]).toBeCloseTo(10, 12);
    expect(lengths[1]).toBeCloseTo(0.25, 12);
    // Scaling the direction W + BA changes nothing.
    const doubled = layerOf(layer.weight.mul(2));
    const both = { ...parameters, 'lora_B.weight': parameters['lora_B.weight'].mul(2) };
    expect(await lora.merge!(doubled, both, options).weight.toArray()).toEqual(await weight.toArray());
  });

  it('initialises A uniform in ±1/√in and B zero, reproducibly, and differently for every module', async () => {
    const model = await tinyModel('llama');
    const one = await createAdapter(model, lora, { r: 16 }, { seed: 5 });
    const two = await createAdapter(model, lora, { r: 16, targetModules: ['q_proj'] }, { seed: 5 });
    const [a, other] = await Promise.all(
      ['q_proj', 'v_proj'].map((name) => one.parameters[`model.layers.0.self_attn.${name}.lora_A.weight`]!.toArray()),
    );
    expect(Math.max(...a!.map(Math.abs))).toBeLessThanOrEqual(0.25);
    const variance = a!.reduce((sum, value) => sum + value * value, 0) / a!.length;
    expect(variance).toBeGreaterThan(0.8 * (0.25 ** 2 / 3));
    expect(variance).toBeLessThan(1.2 * (0.25 ** 2 / 3));
    expect(other).not.toEqual(a);
    expect(await two.parameters['model.layers.0.self_attn.q_proj.lora_A.weight']!.toArray()).toEqual(a);
  });
});

describe('rsLoRA', () => {
  it('has gradients of one size at every rank, where those of LoRA fall with its root', async () => {
    const x = tensor(Key.fromSeed(1).normalHost(8 * 16), [8, 16]);
    const layer = layerOf(tensor(Key.fromSeed(2).normalHost(16 * 16), [16, 16]));
    /** Of B, over three seeds; A is uniform in ±1/√in at every rank. */
    const sizeOf = async (r: number, useRslora: boolean) => {
      let sum = 0;
      for (const seed of [1, 2, 3]) {
        const draws = Float32Array.from(Key.fromSeed(seed).uniformHost(r * 16), (u) => (2 * u - 1) / 4);
        const a = tensor(draws, [r, 16]);
        const lossOf = (b: Tensor) =>
          lora.apply(x, layer, { 'lora_A.weight': a, 'lora_B.weight': b }, config({ r, useRslora })).square().mean();
        const gradient = valueAndGrad(lossOf)(zeros([16, r])).gradient as Tensor;
        sum += (await gradient.square().sum().sqrt().item()) / 3;
      }
      return sum;
    };
    const ratio = async (useRslora: boolean) => (await sizeOf(1024, useRslora)) / (await sizeOf(64, useRslora));
    expect(Math.abs((await ratio(true)) - 1)).toBeLessThan(0.15);
    expect(Math.abs(4 * (await ratio(false)) - 1)).toBeLessThan(0.15);
  });
});

describe('a start from rows', () => {
  const q = 'model.layers.1.self_attn.q_proj';
  const gramOf = async (x: Tensor) =>
    (await x.matmul(x, { transposeB: true }).toArray()).map((v) => Math.abs(Math.round(1e4 * v) / 1e4));

  it('EVA has the directions that the inputs vary in most, and gives ranks where they explain most', async () => {
    const model = await tinyModel('llama');
    const evaConfig = { rho: 1, tau: 0.999999 };
    const { parameters } = await createAdapter(
      model,
      lora,
      { r: 3, targetModules: [q], initLoraWeights: 'eva', evaConfig },
      { rows: [ROWS.flat().slice(0, 30)] },
    );
    // The covariance of all inputs at once, which the incremental decomposition never sees.
    const [x] = (await layerInputs(model, [{ name: q }], ROWS.flat().slice(0, 30))).values();
    const inputs = tensor(Float32Array.from(x!.values), [x!.rows, x!.columns]);
    const centred = inputs.sub(inputs.mean(0, { keepDims: true }));
    const a = parameters[`${q}.lora_A.weight`]!;
    expect(await gramOf(a)).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 1]);
    const best = tensor(await leftSingularVectors(centred.transpose(), 3), [16, 3]);
    const kept = (directions: Tensor) => centred.matmul(directions).square().sum().item();
    expect(await kept(a.transpose())).toBeCloseTo(await kept(best), 3);

    const spread = await createAdapter(
      model,
      lora,
      { r: 2, targetModules: 'all-linear', initLoraWeights: 'eva', evaConfig: { rho: 2 } },
      { rows: ROWS },
    );
    const ranks = Object.entries(spread.parameters).flatMap(([name, { shape }]) =>
      name.includes('lora_A') ? [shape[0]!] : [],
    );
    expect(ranks.reduce((sum, r) => sum + r, 0)).toBe(2 * 14);
    expect(Math.max(...ranks)).toBeGreaterThan(2);
    expect(Math.max(...ranks)).toBeLessThanOrEqual(4);
    expect(new Set(ranks).size).toBeGreaterThan(1);
  });

  it('CorDA takes the part of the weight that matters most for the rows, or least', async () => {
    const model = await tinyModel('llama');
    const weight = model.weights[`${q}.weight`]!;
    const rows = [ROWS.flat().slice(0, 30)];
    const [x] = (await layerInputs(model, [{ name: q }], rows[0]!)).values();
    const width = x!.columns;
    const inputs = tensor(Float32Array.from(x!.values), [x!.rows, width]);
    // The covariance as the paper's code scales and damps it, by hand.
    const gram = inputs.matmul(inputs, { transposeA: true }).div(Math.max(...x!.values) ** 2);
    const identity = tensor(Float32Array.from({ length: width ** 2 }, (_, i) => (i % (width + 1) === 0 ? 1 : 0)), [width, width]); // biome-ignore format: a matrix
    const trace = await gram.mul(identity).sum().item();
    const covariance = gram.add(identity.mul((0.01 * trace) / width));
    const size = (part: Tensor) => part.matmul(covariance).square().sum().item();
    const kept = async (cordaMethod: 'ipm' | 'kpm') => {
      const start = { initLoraWeights: 'corda' as const, cordaConfig: { cordaMethod } };
      const adapter = await createAdapter(model, lora, { r: 4, loraAlpha: 4, targetModules: [q], ...start }, { rows });
      const part = adapter.parameters[`${q}.lora_B.weight`]!.matmul(adapter.parameters[`${q}.lora_A.weight`]!);
      // What is taken and what is left are at right angles.
      expect((await size(part)) + (await size(weight.sub(part)))).toBeCloseTo(await size(weight), 3);
      return size(part);
    };
    const [ipm, kpm] = [await kept('ipm'), await kept('kpm')];
    // Of four directions of the outputs none have more of W C than the largest, and none less than the smallest (Ky Fan).
    for (const seed of [1, 2, 3]) {
      const directions: number[][] = [];
      for (let i = 0; i < 4; i++) {
        let one = [...Key.fromSeed(seed).child(i).normalHost(weight.shape[0]!)];
        for (const other of directions) {
          const along = one.reduce((sum, value, k) => sum + value * other[k]!, 0);
          one = one.map((value, k) => value - along * other[k]!);
        }
        const length = Math.hypot(...one);
        directions.push(one.map((value) => value / length));
      }
      const drawn = await size(tensor(directions).matmul(weight));
      expect(drawn).toBeLessThan(ipm);
      expect(drawn).toBeGreaterThan(kpm);
    }
  });

  it('LoRA-GA’s first step stays in the gradient’s first directions, and goes nearer to it than others', async () => {
    const model = await tinyModel('llama');
    const [target] = [{ ...model.network.modules.get(q)!, weight: model.weights[`${q}.weight`]! }];
    const [gradient] = (await weightGradients(model, [target], ROWS)).values();
    const g = gradient!;
    const cosine = async (x: Tensor) =>
      (await x.mul(g).sum().item()) / Math.sqrt((await x.square().sum().item()) * (await g.square().sum().item()));
    const first = tensor(await leftSingularVectors(g, 4), [16, 4]);
    const stepOf = async (start: Partial<LoraConfig>) => {
      const options = { r: 2, targetModules: [q], ...start };
      const { parameters } = await createAdapter(model, lora, options, { rows: ROWS, seed: 3 });
      const [a, b] = [parameters[`${q}.lora_A.weight`]!, parameters[`${q}.lora_B.weight`]!];
      // Of gradient descent on A and B: −η s² (G Aᵀ A + B Bᵀ G).
      const step = g.matmul(a, { transposeB: true }).matmul(a).add(b.matmul(b.transpose()).matmul(g));
      const outside = step.sub(first.matmul(first.matmul(step, { transposeA: true })));
      const share = Math.sqrt((await outside.square().sum().item()) / (await step.square().sum().item()));
      return { cosine: await cosine(step), share };
    };
    const ga = await stepOf({ initLoraWeights: 'lora_ga', loraGaConfig: {} });
    expect(ga.share).toBeLessThan(1e-4);
    for (const start of [{}, { initLoraWeights: 'gaussian' }, { initLoraWeights: 'pissa' }] as const) {
      const other = await stepOf(start);
      expect(other.cosine).toBeLessThan(ga.cosine);
      expect(other.share).toBeGreaterThan(0.1);
    }
  });

  it('orthogonal factors are both there, and their product is not', async () => {
    const model = await tinyModel('gpt2');
    const { parameters } = await createAdapter(model, lora, { r: 4, initLoraWeights: 'orthogonal' });
    const [a, b] = Object.values(parameters);
    const sizes = await Promise.all([a!, b!, b!.matmul(a!)].map((x) => x.square().mean().sqrt().item()));
    // Each column of A is a normal vector of two, spread over four entries: 0.1 · √(2 / 4).
    expect(sizes[0]).toBeGreaterThan(0.05);
    expect(sizes[1]).toBeGreaterThan(0.05);
    expect(sizes[2]).toBeLessThan(1e-7);
  });
});

describe('dropout', () => {
  const at = (seed: number) => Key.fromSeed(seed).toTensor();

  it('is off at evaluation, and in training changes the update only, without bias', async () => {
    const layer = layerOf(tensor([[1, 2], [3, 4]])); // biome-ignore format: matrices
    const parameters = { 'lora_A.weight': tensor([[1, 1]]), 'lora_B.weight': tensor([[1], [2]]) };
    const options = config({ r: 1, loraAlpha: 1, loraDropout: 0.5 });
    const x = tensor([[1, 1]]).broadcastTo([4000, 2]);
    const evaluated = await lora.apply(x, layer, parameters, options).mean(0).toArray();
    const trained = await lora.apply(x, layer, parameters, options, at(1)).mean(0).toArray();
    expect(evaluated[0]).toBeCloseTo(5, 9);
    expect(evaluated[1]).toBeCloseTo(11, 9);
    // The update of output 0 is 2·Binomial(2, ½), of mean 2 and standard error √2/√4000.
    expect(Math.abs(trained[0]! - 5)).toBeLessThan(5 * Math.sqrt(2 / 4000));
    expect(trained[0]).not.toBe(5);
  });

  it('is drawn from the key of the step, for every module anew', async () => {
    const model = await tinyModel('llama');
    const adapter = await createAdapter(model, lora, { loraDropout: 0.5, initLoraWeights: false });
    const run = async (seed: number, module: string) => {
      const layer = model.network.modules.get(module)!;
      const weight = model.weights[`${module}.weight`]!;
      const hooks = adapter.trainingHooks(adapter.parameters, at(seed));
      const apply = (x: Tensor) => x.matmul(weight, { transposeB: true }).mul(0);
      const x = tensor(new Float32Array(16).fill(1), [1, 16]);
      return hooks.linear!(x, { ...layer, weight, bias: undefined, apply }).toArray();
    };
    const q = 'model.layers.0.self_attn.q_proj';
    expect(await run(1, q)).toEqual(await run(1, q));
    expect(await run(1, q)).not.toEqual(await run(2, q));
  });
});

describe('options', () => {
  it.each([
    [{ rank: 4 }, /unknown option "rank".*Known options: targetModules/],
    [{ rank: 4 }, /unknown option "rank"\. It is called "r" here\./],
    [{ alpha: 4 }, /It is called "loraAlpha" here\./],
    [{ lora_dropout: 0.1 }, /Did you mean "loraDropout"\?/],
    [{ r: '8' }, /r is "8"; it must be a whole number of at least 1/],
    [{ loraAlpha: '8' }, /loraAlpha is "8"; it must be a number/],
    [{ layersToTransform: -0 }, /layersToTransform is -0; it must be the index of a layer/],
    [{ layersToTransform: [1, -0] }, /layersToTransform is \[1, -0\]; it must be the index of a layer/],
    [{ r: 0 }, /r is 0; it must be a whole number of at least 1/],
    [{ rankPattern: { v_proj: 1.5 } }, /layers.0.self_attn.v_proj: the rank must be 1 or more/],
    [{ loraDropout: 1 }, /loraDropout is 1; it must be a number of at least 0 and below 1/],
    [{ initLoraWeights: 'mica' }, /initLoraWeights is "mica"; it must be one of true, false, "gaussian", "orthogonal"/],
    [{ initLoraWeights: 'eva' }, /"eva" needs rows of token ids/],
    [{ initLoraWeights: 'eva', evaConfig: { rho: 0.5 } }, /evaConfig is .*; it must be an object with `rho`/],
    [{ initLoraWeights: 'eva', loraBias: true }, /loraBias needs initLoraWeights true or false/],
    [{ initLoraWeights: 'corda', useDora: true }, /"corda" is not supported with useDora/],
    [{ initLoraWeights: 'corda', cordaConfig: { cacheFile: 'c' } }, /cordaConfig is .*; it must be an object with/],
    [{ initLoraWeights: 'lora_ga' }, /"lora_ga" needs loraGaConfig/],
    [{ initLoraWeights: 'lora_ga', loraGaConfig: {}, r: 5 }, /takes 2 r of the 8 singular directions/],
    [{ initLoraWeights: 'orthogonal', r: 3 }, /needs an even rank, not 3/],
    [{ initLoraWeights: 'orthogonal', r: 2, targetModules: ['embed_tokens'] }, /is for linear layers/],
    [{ loraBias: true, useDora: true }, /exclude each other/],
    [{ r: Symbol('r') }, /r is Symbol\(r\); it must be a whole number/],
    [{ loraAlpha: null }, /loraAlpha is null; it must be a number/],
    [{ loraDropout: Symbol('p') }, /loraDropout is Symbol\(p\); it must be a number of at least 0 and below 1/],
    [{ targetModules: 2n }, /targetModules is 2n; it must be a list of texts or a text, or null/],
    [{ rankPattern: 2n }, /rankPattern is 2n; it must be an object of patterns and numbers/],
    [{ layersToTransform: 2n }, /layersToTransform is 2n; it must be the index of a layer/],
    [{ layersPattern: 'layers' }, /layersPattern needs layersToTransform/],
    [{ useRslora: 'yes' }, /useRslora is "yes"; it must be true or false/],
    [{ bias: 'some' }, /bias is "some"; it must be one of "none", "all", "lora_only"/],
    [{ targetModules: ['q_proj', 'lm_head'], loraDropout: 0.1 }, /not supported on the output layer/],
    [{ targetModules: ['embed_tokens'], loraBias: true }, /loraBias is for linear layers/],
  ])('%o is refused', async (options, message) => {
    const model = await tinyModel('llama');
    await expect(createAdapter(model, lora, options as Partial<LoraConfig>)).rejects.toThrow(message);
  });

  it.each<[string, Partial<LoraConfig>, RegExp]>([
    ['llama', { targetModules: ['embed_tokens'] }, /the output layer has a weight of its own/],
    ['qwen2', {}, /neither modulesToSave nor targetModules names embed_tokens or lm_head/],
    ['gpt2', { modulesToSave: ['lm_head'] }, /the embedding is called transformer\.wte/],
    ['qwen2', { targetModules: ['lm_head'], modulesToSave: ['embed_tokens'] }, /are in both modulesToSave and targetM/],
    ['qwen2', { targetModules: ['embed_tokens'], useDora: true }, /is without useDora/],
    ['qwen2', { targetModules: ['embed_tokens'], rankPattern: { embed_tokens: 3 } }, /with one rank and one alpha/],
    ['qwen2', { trainableTokenIndices: { embed_tokens: [3], lm_head: [4] } }, /names other tokens for lm_head/],
  ])('ensureWeightTying over %s with %o is refused', async (name, options, message) => {
    const model = await tinyModel(name as 'llama');
    const made = createAdapter(model, lora, { ensureWeightTying: true, ...options });
    await expect(made).rejects.toThrow(message);
  });

  it('ensureWeightTying keeps a merged model tied, and a file whose two parts differ is refused', async () => {
    const model = await tinyModel('qwen2');
    for (const options of [{ targetModules: ['lm_head'], initLoraWeights: false }, { modulesToSave: ['lm_head'] }]) {
      const adapter = await createAdapter(model, lora, { ensureWeightTying: true, ...options });
      const { model: merged, drift } = await mergeAdapter(model, adapter);
      expect(drift).toBeLessThan(1e-5);
      expect(merged.config.tieWordEmbeddings).toBe(true);
      const folder = await mkdtemp(join(tmpdir(), 'tied-'));
      await saveAdapter(folder, adapter);
      const path = join(folder, 'adapter_model.safetensors');
      const file = await openSafetensors(path);
      const tensors = [];
      for (const [name, { shape }] of file.tensors) {
        const { data } = await file.read(name);
        if (/lm_head/.test(name)) data[0]! += 1;
        tensors.push({ name, shape, dtype: 'float32' as const, data: data as Float32Array });
      }
      await file.close();
      await writeSafetensors(path, tensors);
      await expect(loadAdapter(model, folder)).rejects.toThrow(/lm_head\..* is other than what it is tied to/);
      await rm(folder, { recursive: true });
    }
  });

  it('of a start that is not asked for are named in a warning', async () => {
    const warnings: string[] = [];
    const listen = ({ message }: Error) => warnings.push(message);
    process.on('warning', listen);
    const options = { r: 1, evaConfig: {}, cordaConfig: {}, loraGaConfig: {}, initLoraWeights: 'gaussian' as const };
    await createAdapter(await tinyModel('llama'), lora, options);
    await createAdapter(await tinyModel('llama'), lora, { ...options, initLoraWeights: 'eva' }, { rows: ROWS });
    await new Promise(setImmediate);
    process.off('warning', listen);
    const named = warnings.filter((text) => text.includes('does nothing')).map((text) => text.split(' ')[0]);
    expect(named).toEqual(['evaConfig', 'cordaConfig', 'loraGaConfig', 'cordaConfig', 'loraGaConfig']);
  });

  it.each([
    [
      [
        [1, 2],
        [3, 1e6],
      ],
      /createAdapter, rows\[1\], position 1: 1000000 is no token id; ids are whole numbers/,
    ],
    [[[1], []], /rows\[1\] has 0 tokens; it needs 1 to/],
    [[new Array(5000).fill(1)], /rows\[0\] has 5000 tokens; it needs 1 to/],
  ])('rows that no model of this vocabulary and context can read are refused', async (rows, message) => {
    const made = createAdapter(await tinyModel('llama'), lora, { initLoraWeights: 'corda' }, { rows });
    await expect(made).rejects.toThrow(message);
  });

  it('refuses bias "all" where biases are out of reach', async () => {
    await expect(createAdapter(await tinyModel('gpt2'), lora, { bias: 'all' })).rejects.toThrow(
      /transformer.h.0.ln_1.bias belongs to no linear layer/,
    );
  });
});

describe('several adapters', () => {
  it('share one base, and each reports what it trains', async () => {
    const model = await tinyModel('llama');
    const [one, two] = [await createAdapter(model, lora, { r: 2 }), await createAdapter(model, lora, { r: 4 })];
    expect(one.report.matched).toEqual(
      [0, 1].flatMap((i) => ['q_proj', 'v_proj'].map((name) => `model.layers.${i}.self_attn.${name}`)),
    );
    expect(one.report.skipped).toContainEqual({ name: 'lm_head', reason: 'not targeted' });
    // q: 16 → 16, v: 16 → 8, in two blocks.
    expect(one.report.trainableParameters).toBe(2 * 2 * (32 + 24));
    expect(two.report.trainableParameters).toBe(2 * one.report.trainableParameters);
    const baseSize = Object.values(model.weights).reduce((sum, { size }) => sum + size, 0);
    expect(one.report.totalParameters).toBe(baseSize + one.report.trainableParameters);
  });
});

describe('unmerging', () => {
  it('restores float32 weights to within 2⁻²³ of the largest of the weights added', async () => {
    await onEngine(onnxruntimeEngine(), async () => {
      const model = await tinyModel('llama');
      const adapter = await createAdapter(model, lora, { targetModules: 'all-linear', initLoraWeights: false });
      const { model: merged, drift } = await mergeAdapter(model, adapter, { keepBase: false });
      expect(drift).toBeLessThan(1e-5);
      await expect(unmergeAdapter(merged, adapter, { exact: true })).rejects.toThrow(/exact: the base is not known/);
      const restored = await unmergeAdapter(merged, adapter);
      for (const name of adapter.report.matched.map((module) => `${module}.weight`)) {
        const [base, changed, again] = await Promise.all(
          [model, merged, restored].map(({ weights }) => weights[name]!.toArray()),
        );
        expect(changed).not.toEqual(base);
        base!.forEach((value, i) => {
          const largest = Math.max(Math.abs(value), Math.abs(changed![i]!), Math.abs(changed![i]! - value));
          expect(Math.abs(again![i]! - value)).toBeLessThanOrEqual(2 ** -23 * largest);
        });
      }
    });
  });
});

describe('unmerging what a merge gave', () => {
  // Of DoRA and of modules trained whole, subtracting gives nothing back; of a tied model the head has become another.
  it.each([
    ['lora', 'llama', {}],
    ['dora', 'llama', { useDora: true }],
    ['modulesToSave', 'llama', { modulesToSave: ['lm_head'] }],
    ['a tied embedding', 'qwen2', { targetModules: ['embed_tokens'] }],
  ] as const)('gives the base back bit for bit: %s', async (_, type, config) => {
    const model = await tinyModel(type);
    const make = (seed: number) =>
      createAdapter(model, lora, { r: 2, initLoraWeights: false, ...config } as never, { seed });
    const [adapter, other] = [await make(1), await make(2)];
    const before = await Promise.all(Object.values(model.weights).map((weight) => weight.toArray()));
    const { model: merged } = await mergeAdapter(model, adapter);
    const restored = await unmergeAdapter(merged, adapter, { exact: true });
    expect(Object.keys(restored.weights)).toEqual(Object.keys(model.weights));
    expect(await Promise.all(Object.values(restored.weights).map((weight) => weight.toArray()))).toEqual(before);
    await expect(unmergeAdapter(merged, other, { exact: true })).rejects.toThrow(/with this adapter/);
  });
});

describe('merging into a tied model', () => {
  it('gives the output layer a weight of its own', async () => {
    const model = await tinyModel('qwen2');
    const adapter = await createAdapter(model, lora, { targetModules: ['embed_tokens'], initLoraWeights: false });
    const { model: merged, drift } = await mergeAdapter(model, adapter, { probe: [1, 2, 3] });
    expect(drift).toBeLessThan(1e-9);
    expect(merged.config.tieWordEmbeddings).toBe(false);
    const [head, embedding] = [merged.weights['lm_head.weight']!, model.weights['model.embed_tokens.weight']!];
    expect(await head.toArray()).toEqual(await embedding.toArray());
  });
});

describe('arguments that cannot be meant', () => {
  const call = (f: (...given: never[]) => Promise<unknown>, given: unknown[]) => f(...(given as never[]));
  it('are refused by name', async () => {
    const model = await tinyModel('llama');
    const adapter = await createAdapter(model, lora, { r: 2, targetModules: ['q_proj'] }, { seed: 1 });
    for (const [f, given, message] of [
      [createAdapter, ['model', lora], 'createAdapter: model is "model"; it must be a loaded model'],
      [
        createAdapter,
        [model, { r: 8 }],
        'createAdapter: method is an object with r; it must be a PEFT method, such as lora',
      ],
      [createAdapter, [model, lora, {}, { seed: 'a' }], 'createAdapter: seed is "a"; it must be a whole number'],
      [createAdapter, [model, lora, {}, { name: 5 }], 'createAdapter: name is 5; it must be a text'],
      [createAdapter, [model, lora, 8], 'createAdapter(LORA): options must be an object, got 8'],
      [loadAdapter, [model, 'x', { methods: [{}] }], 'loadAdapter: methods is [an object with no keys]; it must be'],
      [mergeAdapter, [model, adapter, { probe: 'a' }], 'mergeAdapter: probe is "a"; it must be a list'],
      [saveAdapter, ['x', adapter, { baseModel: 5 }], 'saveAdapter: baseModel is 5; it must be a text'],
      [saveAdapter, [adapter, 'x'], 'saveAdapter: folder is an object'],
      [saveAdapter, ['x', undefined], 'saveAdapter: adapter is undefined; it must be an adapter'],
      [mergeAdapter, [model, 'adapter'], 'mergeAdapter: adapter is "adapter"'],
      [mergeAdapter, [adapter, model], 'mergeAdapter: model is an object'],
      [loadAdapter, ['adapter', model], 'loadAdapter: model is "adapter"'],
      [loadAdapter, [model, ''], 'loadAdapter: folder is ""; it must be the path of a folder'],
    ] as const) {
      const error = await call(f as never, [...given]).catch((cause: unknown) => cause);
      expect(error).toMatchObject({ code: 'INVALID_OPTION', message: expect.stringContaining(message) });
    }
  });
});

describe('adapter folders', () => {
  const golden = join(import.meta.dirname, '../../../goldens/lora/llama-default');
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'peft-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  async function saved(options: Partial<LoraConfig> = {}) {
    const model = await tinyModel('llama');
    await saveAdapter(folder, await createAdapter(model, lora, { r: 2, ...options }));
    return model;
  }
  async function editConfig(edit: (config: Record<string, unknown>) => void) {
    const path = join(folder, 'adapter_config.json');
    const json = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
    edit(json);
    await writeFile(path, JSON.stringify(json));
  }

  it('stay as they were when writing fails', async () => {
    const model = await saved();
    const before = await readFile(join(folder, 'adapter_config.json'), 'utf8');
    const adapter = await createAdapter(model, lora, { r: 3 });
    const name = Object.keys(adapter.parameters).at(-1)!;
    const unreadable = Object.assign(tensor([1]), { data: () => Promise.reject(new Error('no space left on device')) });
    const broken = withAdapterParameters(adapter, { ...adapter.parameters, [name]: unreadable });
    await expect(saveAdapter(folder, broken)).rejects.toThrow('no space left');
    expect((await readdir(folder)).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
    expect(await readFile(join(folder, 'adapter_config.json'), 'utf8')).toBe(before);
    expect((await loadAdapter(model, folder)).config).toMatchObject({ r: 2 });
  });

  it('over older ones are the old or the new, wherever the process is killed or the disk is full', async () => {
    const model = await tinyModel('llama');
    const versions = await Promise.all([2, 3].map((r) => createAdapter(model, lora, { r, targetModules: ['q_proj'] })));
    const points = await countChanges(() => saveAdapter(folder, versions[1]!));
    expect(points).toBeGreaterThan(8);
    const seen = new Set<number>();
    for (let at = 0; at < points; at++) {
      for (const breaking of [killedAt, failing]) {
        await saveAdapter(folder, versions[0]!);
        await breaking(at, () => saveAdapter(folder, versions[1]!));
        // Strict loading: a mixture of two ranks is an error.
        seen.add(((await loadAdapter(model, folder)).config as LoraConfig).r);
      }
    }
    expect(seen).toEqual(new Set([2, 3]));
  });

  it('with a key of a later PEFT load while it is inactive, and are refused by name when it is active', async () => {
    const model = await saved();
    await editConfig((json) => Object.assign(json, { new_feature: null, other_feature: {}, peft_version: '9.0' }));
    await loadAdapter(model, folder);
    await editConfig((json) => Object.assign(json, { new_feature: 3, use_qalora: true }));
    await expect(loadAdapter(model, folder)).rejects.toThrow(
      /uses what is not supported: use_qalora true, new_feature 3/,
    );
  });

  it('with the smallest configuration load', async () => {
    const model = await saved({ r: 8 });
    await writeFile(
      join(folder, 'adapter_config.json'),
      '{"peft_type":"LORA","target_modules":["q_proj","v_proj","Wqkv"]}',
    );
    expect((await loadAdapter(model, folder)).config).toMatchObject({ r: 8, loraAlpha: 8 });
  });

  it.each([
    [{ peft_type: 'GRALORA' }, /peft_type "GRALORA" is not supported; there are LORA/],
    [{ task_type: 'SEQ_CLS' }, /task_type "SEQ_CLS"/],
    [{ init_lora_weights: 'mica' }, /initLoraWeights is "mica"; it must be one of true, false, "gaussian"/],
    [{ init_lora_weights: 'corda' }, /"corda" is over what is left of .* path_initial_model_for_weight_conversion/],
    [{ r: 4 }, /q_proj.lora_A.weight has shape \[2, 16\] where \[4, 16\] is needed/],
    [{ target_modules: ['q_proj'] }, /layers.0.self_attn.v_proj.lora_A.weight is left over \(nearest is/],
    [{ target_modules: ['q_proj', 'v_proj', 'k_proj'] }, /k_proj.lora_A.weight is missing \(there is/],
    [{ target_modules: 7 }, /targetModules is 7; it must be a list of texts/],
    [{ use_dora: true }, /lora_magnitude_vector is missing/],
    [{ r: 1_000_000 }, /asks for \d+ numbers in 4 modules, but the file has \d+: is the rank right/],
    [{ rank_pattern: { q_proj: 1e9 } }, /asks for \d+ numbers in 4 modules/],
    [{ rank_pattern: { '(([a-z._0-9]+)+)+!': 1e9 }, r: 1e15 }, /asks for \d+ numbers/],
    [{ r: '8' }, /r is "8"; it must be a whole number of at least 1/],
    [{ r: -1 }, /adapter_config.json: .* r is -1; it must be a whole number of at least 1/],
    [{ r: null }, /r is null; it must be a whole number of at least 1/],
    [{ r: [8] }, /r is \[8\]; it must be a whole number of at least 1/],
    [{ lora_alpha: '16' }, /loraAlpha is "16"; it must be a number/],
    [{ lora_dropout: '0' }, /loraDropout/],
    [{ rank_pattern: ['q_proj'] }, /rankPattern is \["q_proj"\]; it must be an object/],
    [{ alpha_pattern: null }, /alphaPattern is null; it must be an object/],
    [{ alpha_pattern: { q_proj: 'x' } }, /alphaPattern is .* it must be an object of patterns and numbers/],
    [{ modules_to_save: 'lm_head' }, /modulesToSave is "lm_head"; it must be a list of texts/],
    [{ bias: null }, /bias is null; it must be one of "none"/],
    [{ target_modules: '(([a-z._0-9]+)+)+!' }, /matches no module path/],
  ])('with %j are refused', async (change, message) => {
    const model = await saved();
    await editConfig((json) => Object.assign(json, change));
    await expect(loadAdapter(model, folder)).rejects.toThrow(message);
  });

  it('are not begun with a rank that nobody means', async () => {
    const model = tinyModel('llama');
    await expect(createAdapter(await model, lora, { r: 1e9 })).rejects.toThrow(
      /would have \d+ parameters in \d modules, where the model has \d+: is the rank right/,
    );
    await expect(
      createAdapter(await model, lora, { targetModules: ['q_proj'], alphaPattern: { k_proj: 4 } }),
    ).rejects.toThrow(/alphaPattern: "k_proj" matches none/);
  });

  it('without a file, with half a file or for another base are refused', async () => {
    const model = await tinyModel('llama');
    await expect(loadAdapter(model, folder)).rejects.toThrow(/adapter_config.json: cannot be read .* no such file/);
    await cp(join(golden, 'adapter_config.json'), join(folder, 'adapter_config.json'));
    await expect(loadAdapter(model, folder)).rejects.toThrow(/adapter_model.safetensors: there is no such file/);
    await writeFile(join(folder, 'adapter_model.bin'), '');
    await expect(loadAdapter(model, folder)).rejects.toThrow(/load and save it again in PEFT/);
    await writeSafetensors(join(folder, 'adapter_model.safetensors'), []);
    await expect(loadAdapter(model, folder)).rejects.toThrow(/lora_A.weight is missing/);
    await saved({ targetModules: ['embed_tokens'] });
    await expect(loadAdapter(await tinyModel('llama', 1), folder)).rejects.toThrow(
      /embed_tokens.base_layer.weight is not this model's embedding/,
    );
  });
});

describe('LoftQ', () => {
  const GATE = 'model.layers.0.mlp.gate_proj.weight';
  const quantization = { method: 'nf4', doubleQuantization: false } as const;
  const norm = (values: readonly number[]) => Math.hypot(...values);

  it.each([1, 3])('%s iterations: the base and the product of PEFT', async (iterations) => {
    const file = await openSafetensors(
      join(import.meta.dirname, '../../../goldens/quantization-search/expected.safetensors'),
    );
    const numbers = async (name: string) => Array.from((await file.read(name)).data);
    const model = await tinyModel('llama');
    const weight = tensor(Float32Array.from(await numbers('loftq.weight')), [24, 16]);
    const config = { r: 4, loraAlpha: 4, targetModules: ['gate_proj'], layersToTransform: [0] };
    const own = model.withWeights({ ...model.weights, [GATE]: weight });
    const { model: base, adapter, errors } = await loftq(own, config, { quantization, iterations });
    const q = await (await base.dequantize()).weights[GATE]!.toArray();
    const [wantedQ, wantedProduct] = [
      await numbers(`loftq-${iterations}.rest`),
      await numbers(`loftq-${iterations}.product`),
    ];
    await file.close();
    expect(norm(q.map((x, i) => x - wantedQ[i]!))).toBeLessThan(1e-6);
    const [name] = Object.keys(errors);
    const [a, b] = [adapter.parameters[`${name}.lora_A.weight`]!, adapter.parameters[`${name}.lora_B.weight`]!];
    const product = await b.matmul(a).toArray();
    expect(norm(product.map((x, i) => x - wantedProduct[i]!))).toBeLessThan(2e-5 * norm(wantedProduct));
  });

  it.each(['llama', 'gpt2'] as const)(
    '%s: W - (Q + s·BA) is less than with the zero product of QLoRA, and falls',
    async (type) => {
      const model = await tinyModel(type);
      const config = { r: 4, loraAlpha: 16, targetModules: 'all-linear' };
      const total = (errors: LoftqResult['errors'], of: 'base' | 'withAdapter') =>
        norm(Object.values(errors).map((error) => error[of]));
      const found = [1, 2, 5].map((iterations) => loftq(model, config, { quantization, iterations }));
      const [once, twice, often] = (await Promise.all(found)) as [LoftqResult, LoftqResult, LoftqResult];
      // After one round the base is that of QLoRA, whose B is zero.
      expect(total(once.errors, 'withAdapter')).toBeLessThan(0.8 * total(once.errors, 'base'));
      expect(total(twice.errors, 'withAdapter')).toBeLessThan(total(once.errors, 'withAdapter'));
      expect(total(often.errors, 'withAdapter')).toBeLessThan(total(twice.errors, 'withAdapter'));
      // It is what the two of them compute: against the merged model, whatever s is.
      const merged = await mergeAdapter(await often.model.dequantize(), often.adapter);
      for (const [name, { withAdapter }] of Object.entries(often.errors)) {
        const off = model.weights[`${name}.weight`]!.sub(merged.model.weights[`${name}.weight`]!);
        expect(await off.square().sum().sqrt().item()).toBeCloseTo(withAdapter, 4);
      }
      expect(often.adapter.reference?.name).toBe('default as it was made');
    },
  );

  it('refuses what it is no start of', async () => {
    const model = await tinyModel('llama');
    await expect(loftq(model, { useDora: true })).rejects.toThrow(/plain LoRA: leave out useDora/);
    await expect(loftq(model, { initLoraWeights: 'pissa' })).rejects.toThrow(/plain LoRA/);
    await expect(loftq(model, { targetModules: ['lm_head'] })).rejects.toThrow(/lm_head is not quantised/);
    await expect(loftq(model, { r: 99 })).rejects.toThrow(/q_proj: the weight has \d+ singular values, not 99/);
    await expect(loftq(model, {}, { iterations: 0 })).rejects.toThrow(/iterations is 0/);
    await expect(loftq(await model.quantize({ method: 'nf4' }))).rejects.toThrow(/quantised already/);
  });
});
