import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  iota,
  Key,
  referenceEngine,
  scalar,
  setEngine,
  type Tensor,
  tensor,
  valueAndGrad,
  zeros,
} from '@posttrain/core-tensor';
import { leftSingularVectors, mapNamed, type Named, sgd } from '@posttrain/core-tensor/optim';
import { listOf, text } from '@posttrain/interfaces';
import { adapterFor, type CausalLM, type LayerHooks, type LinearLayer, ModelRunner } from '@posttrain/lm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { torchPermutation } from '../src/adapters/torch-permutation.js';
import {
  adaLora,
  bitFit,
  boft,
  type CptConfig,
  c3a,
  cpt,
  createAdapter,
  curLora,
  fourierFt,
  houlsby,
  hra,
  ia3,
  type LayerMethod,
  lnTuning,
  loadAdapter,
  loha,
  lokr,
  loReft,
  lora,
  loraXs,
  mergeAdapter,
  methodOptions,
  miss,
  mole,
  multitaskPromptTuning,
  NO_PLAN,
  oft,
  osf,
  type PeftAdapter,
  type PeftMethod,
  peftMethods,
  poly,
  prefixTuning,
  progressivePrompt,
  promptTuning,
  pTuning,
  randLora,
  road,
  saveAdapter,
  shira,
  tinyLora,
  vbLora,
  vera,
  type WaveFtConfig,
  waveFt,
  withAdapterParameters,
  type XLoraConfig,
  xLora,
} from '../src/index.js';
import { oloraFactors } from '../src/methods/olora.js';
import { pissaFactors } from '../src/methods/pissa.js';
import { daubechies } from '../src/methods/wavelets.js';
import { budgetsOf } from '../src/optim/rank-allocator.js';
import { testPeftMethod } from '../src/testing/index.js';
import { tinyModel } from '../src/testing/tiny-model.js';

beforeAll(() => setEngine(referenceEngine()));

const ADALORA = { initR: 3, targetR: 2, totalStep: 10, targetModules: 'all-linear', orthRegWeight: 0.5 } as const;

/** Folders of LoRA adapters for X-LoRA to mix. */
async function expertFolders(): Promise<Readonly<Record<string, string>>> {
  const model = await tinyModel('llama');
  const folder = await mkdtemp(join(tmpdir(), 'experts-'));
  afterAll(() => rm(folder, { recursive: true }));
  const targets = [['q_proj', 'down_proj'], ['q_proj', 'k_proj'], ['v_proj']];
  for (const [i, targetModules] of targets.entries()) {
    const options = { r: 2 + i, targetModules, initLoraWeights: false };
    await saveAdapter(join(folder, String(i)), await createAdapter(model, lora, options, { seed: i }));
  }
  return Object.fromEntries(targets.map((_, i) => [String(i), join(folder, String(i))]));
}
const experts = await expertFolders();

describe('conformance', () => {
  // With biases and a tied head, and stored [in, out].
  const some = String.raw`.*(q_proj|down_proj|c_attn|mlp\.c_proj)`;
  const two = { modelTypes: ['qwen2', 'gpt2'] } as const;
  const linear = { modelTypes: ['llama', 'qwen2'] } as const;
  const llama = { identityAtStart: false, modelTypes: ['llama'] } as const;
  testPeftMethod(it, xLora, { adapters: experts, layerwiseScalings: true, xloraDepth: 2, xloraSize: 5 }, llama);
  testPeftMethod(it, xLora, { adapters: experts, enableSoftmax: false, topKLora: 2, scalingPassValue: 0.5 }, llama);
  testPeftMethod(it, vera, { r: 4, targetModules: 'all-linear' });
  testPeftMethod(it, vera, { r: 3, targetModules: ['q_proj'], veraDropout: 0.2 }, { modelTypes: ['llama'] });
  testPeftMethod(it, vera, { r: 3, targetModules: ['q_proj'], bias: 'vera_only' }, { modelTypes: ['qwen2'] });
  testPeftMethod(it, ia3);
  testPeftMethod(it, ia3, { targetModules: ['o_proj'], modulesToSave: ['lm_head'] }, { modelTypes: ['llama'] });
  testPeftMethod(it, lnTuning);
  testPeftMethod(it, lnTuning, { targetModules: String.raw`.*layers\.1\..*norm` }, { modelTypes: ['llama'] });
  testPeftMethod(it, bitFit, {}, two);
  testPeftMethod(it, bitFit, { targetModules: ['ln_1', 'c_fc'] }, { modelTypes: ['gpt2'] });
  testPeftMethod(it, promptTuning, { numVirtualTokens: 3 }, { identityAtStart: false });
  testPeftMethod(
    it,
    promptTuning,
    { numVirtualTokens: 3, promptTuningInit: 'SAMPLE_VOCAB', modulesToSave: ['lm_head'] },
    { identityAtStart: false, modelTypes: ['llama'] },
  );
  testPeftMethod(it, prefixTuning, { numVirtualTokens: 3 }, { identityAtStart: false });
  testPeftMethod(
    it,
    prefixTuning,
    { numVirtualTokens: 3, prefixProjection: true, encoderHiddenSize: 5, modulesToSave: ['lm_head'] },
    llama,
  );
  testPeftMethod(it, pTuning, { numVirtualTokens: 3 }, { ...two, identityAtStart: false });
  testPeftMethod(
    it,
    pTuning,
    { numVirtualTokens: 2, encoderReparameterizationType: 'LSTM', encoderHiddenSize: 4, encoderDropout: 0.3 },
    llama,
  );
  testPeftMethod(
    it,
    multitaskPromptTuning,
    { numVirtualTokens: 3, numTasks: 3, numRanks: 2 },
    { ...two, identityAtStart: false, adapterInputs: { taskIds: 2 } },
  );
  testPeftMethod(
    it,
    multitaskPromptTuning,
    { numVirtualTokens: 2, promptTuningInit: 'SAMPLE_VOCAB' },
    { ...llama, adapterInputs: { taskIds: 0 } },
  );
  testPeftMethod(
    it,
    loReft,
    { lowRankDimension: 3 },
    { ...two, identityAtStart: false, adapterInputs: { promptTokens: 5 } },
  );
  testPeftMethod(
    it,
    loReft,
    { lowRankDimension: 2, positions: 'f1+l2', shareWeights: true, dropout: 0.3, layers: [1] },
    { ...llama, adapterInputs: { promptTokens: 6 } },
  );
  testPeftMethod(it, cpt, { cptTokenIds: [5, 9, 2], cptTokensTypeMask: [1, 2, 7] }, { ...two, identityAtStart: false });
  testPeftMethod(it, tinyLora, { u: 3, weightTying: 0.5, tinyloraDropout: 0.2, targetModules: some }, two);
  testPeftMethod(it, curLora, { r: 3, alpha: 2, targetModules: some }, two);
  testPeftMethod(it, shira, { r: 2, randomSeed: 3 }, { modelTypes: ['llama', 'qwen2'] });
  testPeftMethod(it, houlsby, { bottleneckSize: 4 }, { identityAtStart: false });
  testPeftMethod(
    it,
    houlsby,
    { bottleneckSize: 4, parts: ['mlp'], placement: 'stream', nonLinearity: 'relu', scaling: 0.5 },
    { identityAtStart: false, modelTypes: ['llama'] },
  );
  testPeftMethod(it, lora, { r: 3, initLoraWeights: 'pissa', targetModules: 'all-linear' });
  testPeftMethod(it, lora, { r: 3, initLoraWeights: 'olora', targetModules: 'all-linear' }, two);
  testPeftMethod(it, adaLora, ADALORA);
  testPeftMethod(it, hra, { r: 4, targetModules: some }, linear);
  testPeftMethod(it, hra, { r: 2, applyGS: true }, { modelTypes: ['llama'], identityAtStart: false });
  testPeftMethod(it, loha, { r: 3, targetModules: some }, linear);
  testPeftMethod(it, lokr, { r: 1, targetModules: some }, linear);
  testPeftMethod(it, lokr, { r: 1, decomposeBoth: true, initWeights: 'lycoris' }, { modelTypes: ['llama'] });
  testPeftMethod(it, miss, { r: 5, missDropout: 0.3, targetModules: some }, linear);
  testPeftMethod(it, miss, { r: 4, miniR: 4, initWeights: 'mini' }, { modelTypes: ['llama'] });
  testPeftMethod(
    it,
    c3a,
    { blockSize: 4, targetModules: ['q_proj'] },
    { modelTypes: ['llama'], identityAtStart: false },
  );
  testPeftMethod(it, c3a, { blockSize: 8, initWeights: true, targetModules: some }, linear);
  testPeftMethod(it, oft, { oftBlockSize: 4, targetModules: some }, linear);
  testPeftMethod(it, oft, { r: 2, oftBlockSize: 0, blockShare: true }, { modelTypes: ['qwen2'] });
  testPeftMethod(it, boft, { targetModules: 'all-linear' }, { modelTypes: ['llama'] });
  testPeftMethod(it, boft, { boftNButterflyFactor: 2, bias: 'boft_only' }, { modelTypes: ['qwen2'] });
  testPeftMethod(it, fourierFt, { nFrequency: 30, initWeights: true, targetModules: some }, two);
  testPeftMethod(it, fourierFt, { nFrequency: 9 }, { modelTypes: ['llama'], identityAtStart: false });
  testPeftMethod(it, waveFt, { nFrequency: 30, waveletFamily: 'db3', targetModules: some }, { modelTypes: ['gpt2'] });
  testPeftMethod(it, osf, { effectiveRank: 0.25, targetModules: ['k_proj', 'down_proj'] }, { modelTypes: ['qwen2'] });
  testPeftMethod(
    it,
    loraXs,
    { r: 3, loraDropout: 0.2, deviation: 1e-7, targetModules: some },
    { modelTypes: ['gpt2'] },
  );
  testPeftMethod(it, mole, { adapters: experts, temperature: 0.5 }, llama);
  testPeftMethod(
    it,
    boft,
    { boftNButterflyFactor: 2, boftDropout: 0.5, targetModules: ['q_proj'] },
    { modelTypes: ['llama'] },
  );
  testPeftMethod(it, randLora, { r: 5, randloraAlpha: 10, targetModules: some }, two);
  testPeftMethod(
    it,
    randLora,
    { r: 16, randloraAlpha: 16, sparse: true, randloraDropout: 0.2 },
    { modelTypes: ['llama'] },
  );
  testPeftMethod(
    it,
    vbLora,
    { r: 2, numVectors: 4, vectorLength: 8, vbloraDropout: 0.2, targetModules: some },
    { ...two, identityAtStart: false },
  );
  testPeftMethod(it, road, { groupSize: 8, targetModules: some }, linear);
  testPeftMethod(it, road, { groupSize: 4, variant: 'road_4' }, { modelTypes: ['qwen2'] });
  testPeftMethod(it, lora, { r: 3, targetModules: 'all-linear', aloraInvocationTokens: [8, 8] }, two);
  testPeftMethod(
    it,
    poly,
    { r: 2, nTasks: 3, nSplits: 2, targetModules: 'all-linear' },
    { adapterInputs: { taskIds: 2 }, modelTypes: ['llama', 'qwen2'] },
  );
});

const TOKENS = [3, 17, 39, 0, 21, 8, 8, 30];

async function logitsOf(model: CausalLM, tokens: readonly number[], hooks: LayerHooks): Promise<number[]> {
  const shape = [1, tokens.length];
  const input = {
    tokens: tensor(Int32Array.from(tokens), shape, 'int32'),
    positions: iota(shape, 1),
    segments: zeros(shape, 'int32'),
  };
  const hidden = model.network.hidden(model.weights, input, hooks);
  return model.network.logits(model.weights, hidden.reshape([tokens.length, hidden.shape[2]!]), hooks).toArray();
}

const farthest = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), 0);

const layerOf = (weight: ReturnType<typeof tensor>, bias?: ReturnType<typeof tensor>): LinearLayer => ({
  name: 'l',
  kind: 'linear',
  inFeatures: weight.shape[1]!,
  outFeatures: weight.shape[0]!,
  layer: 0,
  transposed: false,
  weight,
  bias,
  apply: (x) => (bias ? x.matmul(weight, { transposeB: true }).add(bias) : x.matmul(weight, { transposeB: true })),
});

describe('the formulas by hand', () => {
  it('VeRA: λ_b B λ_d A x, with the first columns of A and rows of B', async () => {
    const parameters = {
      vera_A: tensor([[1, 2, 9], [0, 1, 9]]), // biome-ignore format: matrices
      vera_B: tensor([[1, 1], [2, 0], [9, 9]]), // biome-ignore format: matrices
      vera_lambda_d: tensor([1, 10]),
      vera_lambda_b: tensor([100, -1]),
    };
    // A x = [5, 2], times λ_d [5, 20], B of it [25, 10], times λ_b [2500, -10]; W x = [1, 2].
    const layer = layerOf(tensor([[1, 0], [0, 1]])); // biome-ignore format: matrices
    expect(await vera.apply(tensor([[1, 2]]), layer, parameters, vera.options.read({})).toArray()).toEqual([2501, -8]);
  });

  it('(IA)³: outputs scaled with their bias, inputs of feed-forward modules before the weight', async () => {
    const layer = layerOf(tensor([[1, 2], [3, 4]]), tensor([1, 1])); // biome-ignore format: matrices
    const of = (feedforwardModules: readonly string[], shape: number[]) =>
      ia3
        .apply(
          tensor([[1, 1]]),
          layer,
          { ia3_l: tensor([2, 10], shape) },
          { ...ia3.options.read({}), feedforwardModules },
        )
        .toArray();
    expect(await of([], [2, 1])).toEqual([8, 80]);
    expect(await of(['l'], [1, 2])).toEqual([23, 47]);
  });

  it('PiSSA: the factors are the largest singular values, and what is left has the others', async () => {
    // Singular values 5, 2, 1 in a rotated basis on both sides.
    const rotation = (angle: number) => {
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      return tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]]); // biome-ignore format: a matrix
    };
    const values = tensor([[5, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0]]); // biome-ignore format: a matrix
    const weight = rotation(0.7).matmul(values);
    for (const transposed of [false, true]) {
      const stored = transposed ? weight.transpose() : weight;
      const { a, b } = await pissaFactors(stored, { r: 2, s: 3, transposed });
      const rest = weight.sub(b.matmul(a).mul(3));
      expect(await rest.square().sum().item()).toBeCloseTo(1, 5);
      // Balanced: both factors have √(S / s).
      const gram = await a.matmul(a, { transposeB: true }).toArray();
      expect(farthest(gram, [5 / 3, 0, 0, 2 / 3])).toBeLessThan(1e-5);
      expect(farthest(await b.matmul(b, { transposeA: true }).toArray(), gram)).toBeLessThan(1e-5);
    }
  });

  it('OLoRA: orthonormal columns times a triangle, which are all of the weight when there are as many', async () => {
    const weight = tensor(Key.fromSeed(3).normalHost(12), [4, 3]);
    for (const transposed of [false, true]) {
      const stored = transposed ? weight.transpose() : weight;
      const { a, b } = await oloraFactors(stored, { r: 3, transposed });
      expect(farthest(await b.matmul(a).toArray(), await weight.toArray())).toBeLessThan(1e-6);
      const gram = await b.matmul(b, { transposeA: true }).toArray();
      expect(farthest(gram, [1, 0, 0, 0, 1, 0, 0, 0, 1])).toBeLessThan(1e-6);
      // Of two columns, the first two of the weight are left at nothing.
      const part = await oloraFactors(stored, { r: 2, transposed });
      const rest = await weight.sub(part.b.matmul(part.a)).slice(1, 0, 2).abs().max().item();
      expect(rest).toBeLessThan(1e-6);
      expect((await a.toArray()).filter((_, i) => i % 3 < Math.floor(i / 3))).toEqual([0, 0, 0]);
    }
  });

  it('LoReFT: orthonormal R, and h in its subspace is what W and b say, at the positions asked for only', async () => {
    const model = await tinyModel('qwen2');
    const adapter = await createAdapter(model, loReft, { lowRankDimension: 3, positions: 'f1+l2' });
    const hooks = adapter.hooks(adapter.parameters);
    const [zero, pass] = [zeros([1, 8, 16]), { positions: iota([1, 8], 1), inputs: { promptTokens: tensor([[5, 5, 5, 5, 5, 5, 5, 5]], [1, 8], 'int32') } }]; // biome-ignore format: a pass
    const change = (h: Tensor) => hooks.sublayer!(zero, { layer: 0, part: 'mlp', input: h, pass }).squeeze(0);
    const one = tensor(Key.fromSeed(3).normalHost(8 * 16), [1, 8, 16]);
    const size = await change(one).square().sum(1).toArray();
    expect(size.map((x) => x > 1e-9)).toEqual([true, false, false, true, true, false, false, false]);
    expect(await hooks.sublayer!(zero, { layer: 0, part: 'attention', input: one, pass }).abs().sum().item()).toBe(0);
    // W = 0 and b = 0 take the subspace out: an orthogonal projection, which is the same twice, and by Pythagoras.
    const out = mapNamed(adapter.parameters, (x, name) => (name.includes('learned_source') ? x.mul(0) : x));
    const take = (h: Tensor) => adapter.hooks(out).sublayer!(zero, { layer: 0, part: 'mlp', input: h, pass }).add(h);
    const once = take(one);
    expect(farthest(await take(once).toArray(), await once.toArray())).toBeLessThan(1e-6);
    const lost = (await one.square().sum(2).sub(once.square().sum(2)).toArray())[0]!;
    expect(lost).toBeCloseTo((await one.sub(once).square().sum(2).toArray())[0]!, 5);
    await expect(createAdapter(model, loReft, { positions: 'f1l1' })).rejects.toThrow(/first and last positions/);
    await expect(createAdapter(model, loReft, { layers: [2] })).rejects.toThrow(/layers: 2, and the model has 2/);
    expect(() => adapterFor(adapter, TOKENS)).toThrow(/promptTokens is missing/);
  });

  it('OFT and HRA: rotations, which keep lengths and angles of inputs', async () => {
    const identity = layerOf(tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])); // biome-ignore format: a matrix
    const x = tensor([[1, 2, -1, 3], [0, -2, 4, 1]]); // biome-ignore format: rows
    const gram = (y: Tensor) => y.matmul(y, { transposeB: true }).toArray();
    const expected = await gram(x);
    const u = tensor([[1, 2], [0, 1], [-1, 3], [2, 0.5]]); // biome-ignore format: a matrix
    for (const applyGS of [false, true]) {
      const y = hra.apply(x, identity, { hra_u: u }, hra.options.read({ r: 2, applyGS }));
      expect(farthest(await gram(y), expected)).toBeLessThan(1e-9);
    }
    // u = e₁: the first coordinate changes its sign.
    const mirror = { hra_u: tensor([[5], [0], [0], [0]]) };
    expect(await hra.apply(x, identity, mirror, hra.options.read({ r: 1 })).toArray()).toEqual([
      -1, 2, -1, 3, 0, -2, 4, 1,
    ]);
    // Of small angles the series is the rotation by twice the angle.
    const config = oft.options.read({ oftBlockSize: 2 });
    const turned = oft.apply(x, identity, { 'oft_R.weight': tensor([[0.01], [0.02]]) }, config);
    expect(farthest(await gram(turned), expected)).toBeLessThan(1e-5);
    const angle = (-2 * Math.atan(0.01)) as number;
    const [first] = await turned.toArray();
    expect(first).toBeCloseTo(Math.cos(angle) + 2 * Math.sin(angle), 5);
  });

  it('BOFT: a product of butterflies is a rotation, which reaches inputs that one factor leaves apart', async () => {
    const identity = layerOf(tensor(Array.from({ length: 8 }, (_, i) => [...Array(8)].map((_, j) => +(i === j)))));
    const rotation = async (m: number) => {
      const config = boft.options.read({ boftBlockSize: 2, boftNButterflyFactor: m });
      const parameters = {
        boft_R: tensor(Key.fromSeed(m).normalHost(m * 16), [m, 4, 2, 2]),
        boft_s: tensor(Array(8).fill(1), [8, 1]),
      };
      const rows = boft.apply(identity.weight, identity, parameters, config);
      const gram = await rows.matmul(rows, { transposeB: true }).toArray();
      expect(farthest(gram, await identity.weight.toArray())).toBeLessThan(1e-9);
      return rows.toArray();
    };
    const reached = async (m: number) => (await rotation(m)).filter((x) => Math.abs(x) > 1e-12).length / 8;
    expect([await reached(1), await reached(2), await reached(3)]).toEqual([2, 4, 8]);
  });

  it('FourierFT: one coefficient is a wave, which sees its own frequency only; all of them are torch’s places', async () => {
    const zero = layerOf(zeros([6, 8]));
    const config = fourierFt.options.read({ nFrequency: 1, scaling: 48 });
    // torch.randperm(48) with seed 777 begins with this.
    const [place] = torchPermutation(48, 777, 48);
    expect(torchPermutation(5_000_000, 1, 4)).toEqual(Int32Array.from([1_095_845, 2_876_996, 3_771_362, 305_774]));
    expect([...torchPermutation(48, 777, 48)].sort((a, b) => a - b)).toEqual([...Array(48).keys()]);
    const frequency = place! % 8;
    const waves = Array.from({ length: 8 }, (_, k) =>
      Array.from({ length: 8 }, (_, q) => Math.cos((2 * Math.PI * k * q) / 8)),
    );
    const spectrum = { fourierft_spectrum: tensor([2]) };
    const strength = await fourierFt.apply(tensor(waves), zero, spectrum, config).square().sum(1).toArray();
    const seen = strength.flatMap((x, k) => (x > 1e-9 ? [k] : []));
    expect(seen).toEqual([frequency, 8 - frequency].sort((a, b) => a - b));
    // Parseval: (48 · 2 / 48)² Σ cos², of 48 places a half.
    const { weight } = fourierFt.merge!(zero, spectrum, config);
    expect(await weight.square().sum().item()).toBeCloseTo(96, 4);
    // Few coefficients and many are computed in two ways; sizes of either parity.
    for (const [outputs, inputs] of [
      [6, 8],
      [5, 7],
      [8, 5],
    ] as const) {
      const size = outputs * inputs;
      for (const count of [2, size]) {
        const coefficients = [...Key.fromSeed(count).normalHost(count)];
        const own = fourierFt.options.read({ nFrequency: count, scaling: size });
        const merged = fourierFt.merge!(
          layerOf(zeros([outputs, inputs])),
          { fourierft_spectrum: tensor(coefficients) },
          own,
        );
        const places = [...torchPermutation(size, 777, count)];
        const expected = Array.from({ length: size }, (_, at) =>
          places.reduce((sum, k, i) => {
            const rows = (Math.floor(at / inputs) * Math.floor(k / inputs)) / outputs;
            return sum + coefficients[i]! * Math.cos(2 * Math.PI * (rows + ((at % inputs) * (k % inputs)) / inputs));
          }, 0),
        );
        const values = await merged.weight.toArray();
        expect(
          Math.max(...values.map((x, i) => Math.abs(x - expected[i]!))),
          `${outputs} ${inputs} ${count}`,
        ).toBeLessThan(1e-5);
      }
    }
  });

  it('WaveFT: all coefficients of Haar’s are a rotation of the weight, and Daubechies’ wavelets see no polynomial', async () => {
    const zero = layerOf(zeros([6, 8]));
    const changeOf = async (spectrum: readonly number[], options: Partial<WaveFtConfig>) => {
      const config = waveFt.options.read({ nFrequency: spectrum.length, scaling: 1, ...options });
      return waveFt.merge!(zero, { waveft_spectrum: tensor(spectrum) }, config).weight.toArray();
    };
    const sizeOf = (values: readonly number[]) => values.reduce((sum, x) => sum + x * x, 0);
    const all = [...Key.fromSeed(4).normalHost(48)];
    expect(sizeOf(await changeOf(all, {}))).toBeCloseTo(sizeOf(all), 4);
    // One is a square of four halves, whichever it is.
    const one = (await changeOf([1], {})).filter((x) => x !== 0);
    expect(one.map(Math.abs).map((x) => x.toFixed(5))).toEqual(Array(4).fill('0.50000'));
    expect((await changeOf([3], { useIdwt: false })).filter((x) => x !== 0)).toEqual([3]);
    for (const n of [1, 2, 4, 7, 10]) {
      const { low, high } = daubechies(n);
      expect(low).toHaveLength(2 * n);
      for (let shift = 0; shift < n; shift++) {
        const product = low.reduce((sum, x, k) => sum + x * (low[k + 2 * shift] ?? 0), 0);
        expect(product).toBeCloseTo(shift === 0 ? 1 : 0, 8);
      }
      for (let power = 0; power < Math.min(n, 4); power++) {
        expect(high.reduce((sum, x, k) => sum + x * (k / n) ** power, 0)).toBeCloseTo(0, 6);
      }
    }
  });

  it('OSF: what is learnt stays across the kept directions of the weight, whatever the gradient is', async () => {
    const model = await tinyModel('llama');
    const name = 'model.layers.0.self_attn.q_proj';
    const adapter = await createAdapter(model, osf, { effectiveRank: 5, targetModules: [name] });
    const kept = adapter.frozen[`${name}.osf_U_high`]!;
    const input = tensor(Key.fromSeed(1).normalHost(4 * 16), [4, 16]);
    const lossOf = (parameters: Named): Tensor =>
      adapter.hooks(parameters).linear!(input, { ...layerOf(model.weights[`${name}.weight`]!), name })
        .square()
        .sum();
    let { parameters } = adapter;
    for (let step = 0; step < 2; step++) {
      const gradient = valueAndGrad(lossOf)(parameters).gradient as Named;
      parameters = mapNamed(parameters, (x, key) => x.sub(gradient[key]!.mul(0.01)));
    }
    const moved = parameters[`${name}.osf_svd_params.U_low`]!;
    expect(await moved.sub(adapter.parameters[`${name}.osf_svd_params.U_low`]!).abs().max().item()).toBeGreaterThan(
      1e-3,
    );
    expect(await kept.matmul(moved, { transposeA: true }).abs().max().item()).toBeLessThan(1e-5);
    // The weight has its first five singular directions, as they were: W uᵀ of the kept ones is what it was.
    const context = { config: adapter.config, plan: adapter.plan, model: model.config };
    const merged = adapter.method.merge!(context, { trained: parameters, frozen: adapter.frozen }, model);
    const along = (weight: Tensor) => kept.matmul(weight, { transposeA: true }).toArray();
    expect(
      farthest(await along(merged[`${name}.weight`]!), await along(model.weights[`${name}.weight`]!)),
    ).toBeLessThan(1e-5);
  });

  it('LoRA-XS: with R one it is a part of the weight again, and all of it with all directions', async () => {
    const model = await tinyModel('gpt2');
    const name = 'transformer.h.0.attn.c_attn';
    const weight = model.weights[`${name}.weight`]!;
    for (const [r, isAll] of [
      [16, true],
      [4, false],
    ] as const) {
      // biome-ignore format: pairs
      const adapter = await createAdapter(model, loraXs, { r, loraAlpha: r, targetModules: [name] });
      expect(adapter.report.trainableParameters).toBe(r * r);
      const unit = tensor(Array.from({ length: r }, (_, i) => Array.from({ length: r }, (_, j) => +(i === j))));
      const context = { config: adapter.config, plan: adapter.plan, model: model.config };
      const merged = adapter.method.merge!(
        context,
        { trained: { [`${name}.lora_xs_R`]: unit }, frozen: adapter.frozen },
        model,
      );
      const missing = await merged[`${name}.weight`]!.sub(weight.mul(2)).square().sum().item();
      if (isAll) expect(missing).toBeLessThan(1e-6);
      else expect(missing).toBeGreaterThan(1);
    }
  });

  it('MoLE: at zero all count the same, and a sharp gate is one LoRA alone, token by token', async () => {
    const model = await tinyModel('llama');
    const name = 'model.layers.0.self_attn.q_proj';
    const two = { 0: experts[0]!, 1: experts[1]! };
    const adapter = await createAdapter(model, mole, { adapters: two, temperature: 1e-6 });
    const layer = { ...layerOf(model.weights[`${name}.weight`]!), name };
    const x = tensor(Key.fromSeed(5).normalHost(8 * 16), [8, 16]);
    const changes = await Promise.all(
      Object.values(two).map(async (folder) => {
        const lone = await loadAdapter(model, folder);
        const { a, b, scale } = lone.lowRank!(lone.parameters)[name]!;
        return x.matmul(a, { transposeB: true }).matmul(b, { transposeB: true }).mul(scale);
      }),
    );
    const added = (parameters: Named) => adapter.hooks(parameters).linear!(x, layer).sub(layer.apply(x)).toArray();
    const mean = await changes[0]!.add(changes[1]!).mul(0.5).toArray();
    expect(farthest(await added(adapter.parameters), mean)).toBeLessThan(1e-6);
    // The gate asks whether all that is added has a sum above zero.
    const sharp = {
      ...adapter.parameters,
      [`${name}.mole_gate`]: tensor([...Array(32).fill(1), ...Array(32).fill(-1)], [2, 32]),
    };
    const isFirst = (await changes[0]!.add(changes[1]!).sum(1).toArray()).map((sum) => sum > 0);
    expect(new Set(isFirst).size).toBe(2);
    const [one, other] = await Promise.all(changes.map((change) => change.toArray()));
    const expected = one!.map((value, i) => (isFirst[Math.floor(i / 16)] ? value : other![i]!));
    expect(farthest(await added(sharp), expected)).toBeLessThan(1e-5);
  });

  it('RandLoRA: the update has full rank, where LoRA of that rank has not', async () => {
    const model = await tinyModel('qwen2');
    const targetModules = ['up_proj'];
    const rankOf = async (adapter: PeftAdapter) => {
      const name = 'model.layers.0.mlp.up_proj';
      const parameters = mapNamed(adapter.parameters, (x, of) =>
        tensor(Key.fromSeed(of.length).normalHost(x.size), x.shape),
      );
      const merged = adapter.method.merge!(
        { config: adapter.config, plan: adapter.plan, model: model.config },
        { trained: parameters, frozen: adapter.frozen },
        model,
      );
      const delta = merged[`${name}.weight`]!.sub(model.weights[`${name}.weight`]!);
      const [outputs] = delta.shape as [number, number];
      const vectors = tensor(await leftSingularVectors(delta, outputs), [outputs, outputs]);
      const values = await vectors.matmul(delta, { transposeA: true }).square().sum(1).sqrt().toArray();
      return values.filter((value) => value > 1e-4 * values[0]!).length;
    };
    const lowRank = await createAdapter(model, lora, { r: 4, targetModules, initLoraWeights: false });
    expect(await rankOf(lowRank)).toBe(4);
    const full = await createAdapter(model, randLora, { r: 4, randloraAlpha: 4, targetModules });
    expect(await rankOf(full)).toBe(16);
    expect(full.report.trainableParameters).toBe(2 * (4 * 4 + 4 * 16));
  });

  it('RoAd: a quarter turn puts one half of a group into the place of the other', async () => {
    const identity = layerOf(tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])); // biome-ignore format: a matrix
    const parameters = { road_theta: tensor([Math.PI / 2, 0]), road_alpha: tensor([2, 1]) };
    const y = await road
      .apply(tensor([[3, 5, 7, 11]]), identity, parameters, road.options.read({ groupSize: 4 }))
      .toArray();
    expect(farthest(y, [-14, 5, 6, 11])).toBeLessThan(1e-6);
  });

  it('LoHa, LoKr, MiSS, C3A: their changes of a weight, written out', async () => {
    const zero = layerOf(tensor([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])); // biome-ignore format: a matrix
    const identity = tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]); // biome-ignore format: a matrix
    const change = async (method: LayerMethod<never>, parameters: object, options: object) => {
      const config = method.options.read(options as never);
      // Columns of the change are what it gives for unit vectors.
      const columns = method.apply(identity, zero, parameters as never, config).transpose();
      const merged = method.merge!(zero, parameters as never, config).weight;
      expect(farthest(await columns.toArray(), await merged.toArray())).toBeLessThan(1e-9);
      return merged.toArray();
    };
    const column = tensor([[1], [2], [3], [4]]); // biome-ignore format: a matrix
    const row = tensor([[1, 10, 100, 1000]]);
    // An outer product times itself, element by element, twice: α / r is 2.
    const hada = { hada_w1_a: column, hada_w1_b: row, hada_w2_a: column, hada_w2_b: row };
    const squares = [1, 4, 9, 16].flatMap((i) => [1, 1e2, 1e4, 1e6].map((j) => 2 * i * j));
    expect(await change(loha as never, hada, { r: 1, alpha: 2 })).toEqual(squares);
    // Blocks of D, as large as C says.
    const kron = { lokr_w1: tensor([[1, 2], [0, -1]]), lokr_w2: tensor([[3, 4], [5, 6]]) }; // biome-ignore format: matrices
    expect(await change(lokr as never, kron, { r: 2, alpha: 2 })).toEqual(
      [[3, 4, 6, 8], [5, 6, 10, 12], [0, 0, -3, -4], [0, 0, -5, -6]].flat(), // biome-ignore format: a matrix
    );
    // The same block for every three inputs; of the last, one is there.
    const block = { miss_block: tensor([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]) }; // biome-ignore format: a matrix
    expect(await change(miss as never, block, { r: 3 })).toEqual(
      [[1, 5, 9, 1], [2, 6, 10, 2], [3, 7, 11, 3], [4, 8, 12, 4]].flat(), // biome-ignore format: a matrix
    );
    // A kernel of one entry turns the inputs round.
    const kernel = { c3a_kernel: tensor([0, 4, 0, 0], [1, 1, 4]) };
    expect(await change(c3a as never, kernel, { blockSize: 4 })).toEqual(
      [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]].flat(), // biome-ignore format: a matrix
    );
  });

  it('VB-LoRA: a piece with one large logit is that vector of the bank', async () => {
    const model = await tinyModel('llama');
    const options = { r: 1, numVectors: 3, vectorLength: 16, topk: 2, targetModules: ['q_proj'] };
    const adapter = await createAdapter(model, vbLora, options);
    expect(adapter.report.trainableParameters).toBe(3 * 16 + 2 * 2 * 3);
    const sure = (x: Tensor, name: string) => (name === 'vblora_vector_bank' ? x : tensor([0, 100, -100], x.shape));
    const moved = withAdapterParameters(adapter, mapNamed(adapter.parameters, sure));
    const { a, b } = moved.lowRank!(moved.parameters)['model.layers.1.self_attn.q_proj']!;
    const second = (await moved.parameters.vblora_vector_bank!.toArray()).slice(16, 32);
    expect(await a.toArray()).toEqual(second);
    expect(await b.toArray()).toEqual(second);
  });

  it('AdaLoRA: orthonormal factors have no penalty, and b(t) falls with a cube from all to the target', async () => {
    const orthonormal = { 'm.lora_A': tensor([[1, 0, 0], [0, 0, 1]]), 'm.lora_B': tensor([[0, 1], [1, 0], [0, 0]]) }; // biome-ignore format: matrices
    const config = { ...adaLora.options.read({}), ...ADALORA };
    expect(await adaLora.penalty!(orthonormal, config).item()).toBeLessThan(1e-12);
    const doubled = { ...orthonormal, 'm.lora_A': orthonormal['m.lora_A'].mul(2) };
    // ‖4 I − I‖ = 3 √2, of one factor of two.
    expect(await adaLora.penalty!(doubled, config).item()).toBeCloseTo(0.5 * 0.5 * 3 * Math.SQRT2, 6);
    const schedule = { initR: 4, targetR: 1, tinit: 2, tfinal: 2, deltaT: 2, beta1: 0.5, beta2: 0.5, totalStep: 10 };
    // From 12 directions of 3 modules to 3: at 4, 12 → 3 + 9 (4/6)³ = 5.67, at 6 3 + 9 (2/6)³ = 3.33; between, none is masked.
    expect(budgetsOf(12, 3, schedule)).toEqual([12, 12, 12, 12, 5, 12, 3, 12, 3, 3, 3]);
  });
});

describe('X-LoRA', () => {
  const one = { xloraDropoutP: 0, adapters: experts } as const;
  const mixedBy = async (options: Partial<XLoraConfig>, bias: readonly number[]) => {
    const model = await tinyModel('llama');
    const adapter = await createAdapter(model, xLora, { ...one, ...options });
    const gate = Object.entries(adapter.parameters).map(([name, x]) => [
      name,
      name.endsWith('bias') ? tensor(bias) : x.mul(0),
    ]);
    return logitsOf(model, TOKENS, adapter.hooks(Object.fromEntries(gate)));
  };

  it('with a gate that is one-hot is that LoRA alone, and with equal gates their mean', async () => {
    const model = await tinyModel('llama');
    const alone = await Promise.all(Object.values(experts).map((folder) => loadAdapter(model, folder)));
    for (const [i, lone] of alone.entries()) {
      const expected = await logitsOf(model, TOKENS, lone.hooks(lone.parameters));
      const gate = alone.map((_, j) => (i === j ? 100 : 0));
      expect(farthest(await mixedBy({}, gate), expected)).toBeLessThan(1e-5);
      const bare = { enableSoftmax: false, topKLora: 1, globalScalingWeight: 0.01 };
      expect(farthest(await mixedBy(bare, gate), expected)).toBeLessThan(1e-5);
    }
    const [first] = alone as [(typeof alone)[number]];
    const third = withAdapterParameters(
      first,
      mapNamed(first.parameters, (x, name) => (name.includes('lora_B') ? x.div(3) : x)),
    );
    const two = await mixedBy({ adapters: { 0: experts[0]! } }, [0]);
    expect(farthest(two, await logitsOf(model, TOKENS, first.hooks(first.parameters)))).toBeLessThan(1e-5);
    const thirds = await mixedBy(
      { adapters: { 0: experts[0]!, 1: experts[0]!, 2: experts[0]! }, enableSoftmax: false },
      [1 / 9, 1 / 9, 1 / 9],
    );
    expect(farthest(thirds, await logitsOf(model, TOKENS, third.hooks(third.parameters)))).toBeLessThan(1e-5);
  });

  it.each([
    [{}, /adapters must be given/],
    [{ ...one, useTrainableAdapters: true }, /useTrainableAdapters is not supported/],
    [{ ...one, topKLora: 4 }, /topKLora is 4, and there are 3 adapters/],
    [{ ...one, enableSoftmaxTopk: true }, /enableSoftmaxTopk needs topKLora/],
    [{ ...one, hiddenSize: 4096 }, /hiddenSize is 4096, and the model's 16/],
    [{ adapters: { 0: 'nowhere' } }, /nowhere.adapter_config.json: cannot be read/],
  ])('%o is refused', async (options, message) => {
    await expect(createAdapter(await tinyModel('llama'), xLora, options as Partial<XLoraConfig>)).rejects.toThrow(
      message,
    );
  });
});

describe('what an adapter starts as', () => {
  it('prompt tuning from a text is the model with that text before the tokens', async () => {
    const model = await tinyModel('qwen2');
    const text = [5, 9];
    const config = { numVirtualTokens: 3, promptTuningInit: 'TEXT' } as const;
    const adapter = await createAdapter(model, promptTuning, config, { rows: [text] });
    const whole = await logitsOf(model, [5, 9, 5, ...TOKENS], {});
    const logits = await logitsOf(model, TOKENS, adapter.hooks(adapter.parameters));
    expect(farthest(logits, whole.slice(3 * model.config.vocabSize))).toBeLessThan(1e-5);
    await expect(createAdapter(model, promptTuning, config, { rows: [[99]] })).rejects.toThrow(/99 is no token id/);
    await expect(createAdapter(model, promptTuning, config)).rejects.toThrow(/needs the tokens of one text/);
  });

  it('multitask prompt tuning starts from tasks of an earlier adapter, and a task of factors of ones is the text', async () => {
    const model = await tinyModel('gpt2');
    const folder = await mkdtemp(join(tmpdir(), 'multitask-'));
    try {
      const options = { numVirtualTokens: 2, promptTuningInit: 'TEXT' } as const;
      const text = await createAdapter(model, multitaskPromptTuning, { ...options, numTasks: 2 }, { rows: [[5, 9]] });
      // The factors of task 1 are ones, and those of task 0 threes.
      const factor = tensor([3, 1], [2, 1, 1]);
      const source = withAdapterParameters(
        text,
        mapNamed(text.parameters, (x, name) => (name === 'prompt_embeddings' ? x : x.mul(0).add(factor))),
      );
      await saveAdapter(folder, source);
      const path = join(folder, 'adapter_model.safetensors');
      const from = (promptTuningInit: 'AVERAGE_SOURCE_TASKS' | 'EXACT_SOURCE_TASK', more = {}) =>
        createAdapter(model, multitaskPromptTuning, {
          ...{ numVirtualTokens: 2, promptTuningInit, promptTuningInitStateDictPath: path },
          ...more,
        });
      const ofTask = async (adapter: PeftAdapter, taskIds: number) => {
        const runner = new ModelRunner(model);
        const own = adapterFor(adapter, TOKENS, { taskIds });
        const [result] = await runner.extend([{ sequence: runner.start(), tokens: TOKENS, adapter: own }]);
        return [...result!.logits[0]!];
      };
      const { vocabSize } = model.config;
      const ones = (await logitsOf(model, [5, 9, ...TOKENS], {})).slice(-vocabSize);
      expect(farthest(await ofTask(source, 1), ones)).toBeLessThan(1e-5);
      expect(farthest(await ofTask(source, 0), ones)).toBeGreaterThan(1e-2);
      const exact = await from('EXACT_SOURCE_TASK', { promptTuningInitTask: 1 });
      expect(farthest(await ofTask(exact, 0), ones)).toBeLessThan(1e-5);
      // (3 + 1)/2 = 2 of both factors: P · 4.
      const average = await from('AVERAGE_SOURCE_TASKS');
      expect(await average.parameters.prefix_task_cols!.toArray()).toEqual([2, 2]);
      await expect(from('EXACT_SOURCE_TASK', { promptTuningInitTask: 2 })).rejects.toThrow(
        /takes task 2, and .* has 2/,
      );
      await expect(from('EXACT_SOURCE_TASK', { numTasks: 2 })).rejects.toThrow(/is of one task, and numTasks is 2/);
      await expect(from('EXACT_SOURCE_TASK', { numVirtualTokens: 3 })).rejects.toThrow(
        /needs prompt_embeddings \[3, 16\]/,
      );
      await expect(
        createAdapter(model, multitaskPromptTuning, { numVirtualTokens: 2, promptTuningInit: 'ONLY_SOURCE_SHARED' }),
      ).rejects.toThrow(/needs promptTuningInitStateDictPath/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('prefix tuning with the keys and values of tokens is the model with these tokens before', async () => {
    const model = await tinyModel('gpt2');
    const before = [5, 9];
    const runs: { keys: number[][]; values: number[][] } = { keys: [], values: [] };
    const virtual = model.network.asVirtualTokens(model.weights, tensor(Int32Array.from(before)));
    for (const { keys, values } of model.network.prefix(model.weights, { virtualTokens: virtual })!) {
      runs.keys.push(await keys.transpose([1, 0, 2]).toArray());
      runs.values.push(await values.transpose([1, 0, 2]).toArray());
    }
    const perToken = runs.keys[0]!.length / before.length;
    const embeddings = before.flatMap((_, t) =>
      runs.keys.flatMap((keys, layer) => [
        ...keys.slice(t * perToken, (t + 1) * perToken),
        ...runs.values[layer]!.slice(t * perToken, (t + 1) * perToken),
      ]),
    );
    const adapter = await createAdapter(model, prefixTuning, { numVirtualTokens: 2 });
    const parameters = { prompt_embeddings: tensor(embeddings, adapter.parameters.prompt_embeddings!.shape) };
    const whole = await logitsOf(model, [...before, ...TOKENS], {});
    const logits = await logitsOf(model, TOKENS, adapter.hooks(parameters));
    expect(farthest(logits, whole.slice(2 * model.config.vocabSize))).toBeLessThan(1e-5);
  });

  it.each([
    ['P-tuning', pTuning, { encoderReparameterizationType: 'MLP' }, 'mlp_head.4'],
    ['P-tuning by an LSTM', pTuning, { encoderReparameterizationType: 'LSTM' }, 'mlp_head.2'],
    ['CPT', cpt, { cptTokenIds: [9, 9, 9] }, ''],
  ] as const)('%s of the embedding of a token is the model with that token before', async (_, method, config, last) => {
    const model = await tinyModel('gpt2');
    const { vocabSize } = model.config;
    const adapter = await createAdapter(model, method as PeftMethod, { numVirtualTokens: 3, ...config });
    const token = model.network.asVirtualTokens(model.weights, tensor(Int32Array.of(9))).squeeze(0);
    // A last layer that looks at nothing gives its bias.
    const parameters = mapNamed(adapter.parameters, (x, name) => {
      if (last === '' || !name.includes(last)) return x;
      return name.endsWith('bias') ? token : x.mul(0);
    });
    const whole = await logitsOf(model, [9, 9, 9, ...TOKENS], {});
    expect(farthest(await logitsOf(model, TOKENS, adapter.hooks(parameters)), whole.slice(3 * vocabSize))).toBeLessThan(
      1e-5,
    );
  });

  it('CPT: what a step leaves is in the balls, and labels and padding stay the tokens that they are', async () => {
    const model = await tinyModel('qwen2');
    const config = { cptTokenIds: [1, 2, 3, 4], cptTokensTypeMask: [1, 2, 0, 4], optProjectionEpsilon: 0.5 };
    const adapter = await createAdapter(model, cpt, config);
    const moved = { 'delta_embedding.weight': tensor(Key.fromSeed(1).normalHost(4 * 16), [4, 16]) };
    const change = async (parameters: typeof moved) =>
      (adapter.hooks(parameters).virtualTokens as Tensor)
        .sub(adapter.frozen['embedding.weight']!)
        .square()
        .sum(1)
        .sqrt();
    const norms = await (await change(moved)).toArray();
    const scale = Math.sqrt(16 / 2048);
    expect(norms[0]).toBeCloseTo(0.1 * scale, 6);
    expect(norms[1]).toBeCloseTo(0.5 * scale, 6);
    expect(Math.max(norms[2]!, norms[3]!)).toBeLessThan(1e-7);
    const none = { 'delta_embedding.weight': zeros([4, 16]) };
    const optimizer = adapter.optimizer!(sgd());
    const { parameters } = optimizer.update(moved, none, optimizer.init(moved), scalar(1));
    const stepped = parameters as typeof moved;
    const stays = (await stepped['delta_embedding.weight'].square().sum(1).sqrt().toArray()).slice(0, 2);
    expect(farthest(stays, norms.slice(0, 2))).toBeLessThan(1e-7);
  });

  it('TinyLoRA: thirteen numbers for the whole model, which move every weight within its first singular directions', async () => {
    const model = await tinyModel('qwen2');
    const config = {
      u: 13,
      weightTying: 1,
      initWeights: 'uniform',
      initVBound: 1,
      targetModules: 'all-linear',
    } as const;
    const adapter = await createAdapter(model, tinyLora, config);
    expect(adapter.report.trainableParameters).toBe(13);
    expect(Object.keys(adapter.parameters)).toEqual(['tinylora_v.0']);
    const { model: merged } = await mergeAdapter(model, adapter);
    const name = 'model.layers.1.mlp.up_proj.weight';
    const delta = merged.weights[name]!.sub(model.weights[name]!);
    expect(await delta.abs().max().item()).toBeGreaterThan(1e-4);
    const [outputs] = delta.shape as [number, number];
    const all = tensor(await leftSingularVectors(model.weights[name]!, outputs), [outputs, outputs]);
    const others = all.slice(1, 2).matmul(delta, { transposeA: true });
    expect(await others.abs().max().item()).toBeLessThan(1e-6);
    const ungrouped = await createAdapter(model, tinyLora, {
      u: 2,
      weightTying: 0.5,
      targetModules: ['q_proj', 'up_proj'],
    });
    expect(Object.keys(ungrouped.parameters)).toEqual(['tinylora_v.0', 'tinylora_v.1']);
    await expect(createAdapter(model, tinyLora, { saveProjection: false })).rejects.toThrow(/P must be in the file/);
  });

  it('CURLoRA takes columns and rows of the weight itself, the small ones more often', async () => {
    const model = await tinyModel('llama');
    const name = 'model.layers.0.self_attn.q_proj';
    // Columns 0 to 7 have nearly all of the norm.
    const scale = tensor(
      Array.from({ length: 16 }, (_, i) => (i < 8 ? 10 : 0.1)),
      [1, 16],
    );
    const weight = model.weights[`${name}.weight`]!.mul(0).add(scale);
    const uneven = model.withWeights({ ...model.weights, [`${name}.weight`]: weight });
    const adapter = await createAdapter(uneven, curLora, { r: 64, targetModules: ['q_proj'], layersToTransform: [0] });
    const taken = await adapter.frozen[`${name}.curlora_C`]!.slice(0, 0, 1).toArray();
    expect(taken.every((x) => Math.abs(x - 10) < 1e-5 || Math.abs(x - 0.1) < 1e-6)).toBe(true);
    expect(taken.filter((x) => x > 1).length).toBeLessThan(4);
    const rows = await adapter.frozen[`${name}.curlora_R`]!.slice(0, 0, 1).toArray();
    expect(farthest(rows, await scale.toArray())).toBeLessThan(1e-5);
  });

  it('SHiRA changes as many entries of a weight as LoRA has numbers, and its change has full rank', async () => {
    const model = await tinyModel('qwen2');
    const adapter = await createAdapter(model, shira, { r: 2, initWeights: false, targetModules: ['q_proj'] });
    const { model: merged } = await mergeAdapter(model, adapter);
    const name = 'model.layers.0.self_attn.q_proj.weight';
    const delta = merged.weights[name]!.sub(model.weights[name]!);
    expect((await delta.toArray()).filter((x) => x !== 0).length).toBe(2 * (16 + 16));
    const vectors = tensor(await leftSingularVectors(delta, 16), [16, 16]);
    const values = await vectors.matmul(delta, { transposeA: true }).square().sum(1).sqrt().toArray();
    expect(values.filter((value) => value > 1e-4 * values[0]!).length).toBeGreaterThan(8);
    const indices = adapter.frozen['model.layers.0.self_attn.q_proj.shira_indices']!;
    expect(indices.dtype).toBe('int32');
    const wrong = { ...adapter, frozen: mapNamed(adapter.frozen, (x) => x.add(9)) };
    const folder = await mkdtemp(join(tmpdir(), 'shira-'));
    try {
      await saveAdapter(folder, wrong);
      await expect(loadAdapter(model, folder)).rejects.toThrow(/shira_indices has 1\d, in a weight \[16, 16\]/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it.each([
    ['P-tuning', pTuning, { numVirtualTokens: 2 }, /train prompt_embeddings themselves/],
    [
      'prefix tuning',
      prefixTuning,
      { numVirtualTokens: 2, prefixProjection: true },
      /config: { prefixProjection: false }/,
    ],
  ] as const)(
    '%s is not trained further without the encoder, which files do not have',
    async (_, method, config, message) => {
      const model = await tinyModel('qwen2');
      const folder = await mkdtemp(join(tmpdir(), 'encoder-'));
      try {
        await saveAdapter(folder, await createAdapter(model, method as PeftMethod, config));
        const { parameters, trainingHooks } = await loadAdapter(model, folder);
        expect(Object.keys(parameters)).toEqual(['prompt_embeddings']);
        expect(() => trainingHooks(parameters, Key.fromSeed(0).toTensor())).toThrow(message);
        if (method !== prefixTuning) return;
        const prefix = await loadAdapter(model, folder, { config: { prefixProjection: false } });
        expect(prefix.trainingHooks(prefix.parameters, Key.fromSeed(0).toTensor()).prefix).toBeDefined();
      } finally {
        await rm(folder, { recursive: true });
      }
    },
  );

  it('a progressive prompt stands before the earlier ones: of tokens it is the text, and its file is a prompt of PEFT', async () => {
    const model = await tinyModel('llama');
    const { vocabSize, hiddenSize } = model.config;
    const of = async (earlier: PeftAdapter | undefined, tokens: readonly number[]) => {
      const made = await progressivePrompt(model, earlier, { numVirtualTokens: tokens.length });
      const own = model.network.asVirtualTokens(model.weights, tensor(Int32Array.from(tokens)));
      return withAdapterParameters(made, { prompt_embeddings: own });
    };
    const first = await of(undefined, [9, 4]);
    const second = await of(first, [7]);
    const third = await of(second, [1, 2]);
    expect(third.virtualTokens).toBe(5);
    expect(third.report.trainableParameters).toBe(2 * hiddenSize);
    const whole = await logitsOf(model, [1, 2, 7, 9, 4, ...TOKENS], {});
    const found = await logitsOf(model, TOKENS, third.hooks(third.parameters));
    expect(farthest(found, whole.slice(5 * vocabSize))).toBeLessThan(1e-5);
    const folder = await mkdtemp(join(tmpdir(), 'prompts-'));
    await saveAdapter(folder, third);
    const again = await loadAdapter(model, folder);
    expect(again.config).toMatchObject({ numVirtualTokens: 5 });
    expect(farthest(await logitsOf(model, TOKENS, again.hooks(again.parameters)), found)).toBeLessThan(1e-6);
    await rm(folder, { recursive: true });
    const none = await createAdapter(model, lora);
    await expect(progressivePrompt(model, none, { numVirtualTokens: 1 })).rejects.toThrow(
      /has no prompt of this model/,
    );
    await expect(progressivePrompt(model, third, { numVirtualTokens: 26 })).rejects.toThrow(/numVirtualTokens 31/);
  });

  it('CPT says which tokens of its context are labels, and what each counts', async () => {
    const of = async (config: Partial<CptConfig>) => {
      const { contextLabels } = await createAdapter(await tinyModel('qwen2'), cpt, config);
      return contextLabels?.weights;
    };
    const cptTokenIds = [1, 2, 3, 4, 5, 6];
    expect(await of({ cptTokenIds, cptTokensTypeMask: [1, 2, 7, 6, 5, 0] })).toBeUndefined();
    // Nothing predicts the first token.
    const cptTokensTypeMask = [4, 4, 7, 8, 8, 12];
    expect(await of({ cptTokenIds, cptTokensTypeMask })).toEqual([0, 1, 0, 1, 1, 1]);
    const decay = { optWeightedLossType: 'decay', optLossDecayFactor: 0.5 } as const;
    expect(await of({ cptTokenIds, cptTokensTypeMask, ...decay })).toEqual([0, 0.125, 0, 0.25, 0.25, 0.5]);
  });

  it('VeRA has one A and B for all modules, frozen, other ones for another seed, and a run tells them apart', async () => {
    const model = await tinyModel('llama');
    const of = (seed: number) => createAdapter(model, vera, { r: 2, targetModules: 'all-linear' }, { seed });
    const [one, again, other] = [await of(1), await of(1), await of(2)];
    expect(Object.keys(one.frozen)).toEqual(['vera_A', 'vera_B']);
    expect(one.frozen.vera_A!.shape).toEqual([2, 24]);
    expect(one.report.trainableParameters).toBe(
      one.plan.targets.reduce((sum, { outFeatures }) => sum + 2 + outFeatures, 0),
    );
    expect(again.identity).toEqual(one.identity);
    expect(other.identity).not.toEqual(one.identity);
  });

  it('PiSSA computes what the model does, and says that training starts from it', async () => {
    const model = await tinyModel('llama');
    const adapter = await createAdapter(model, lora, { r: 2, initLoraWeights: 'pissa' });
    const { reference } = adapter;
    expect(reference!.parameters).toBe(adapter.parameters);
    expect((await createAdapter(model, lora)).reference).toBeUndefined();
    const base = await logitsOf(model, TOKENS, {});
    expect(farthest(await logitsOf(model, TOKENS, reference!.hooks(reference!.parameters)), base)).toBeLessThan(1e-5);
    const b = await adapter.parameters['model.layers.0.self_attn.q_proj.lora_B.weight']!.abs().sum().item();
    expect(b).toBeGreaterThan(1);
  });
});

describe('what is trained', () => {
  it('of Houlsby adapters is 2dm + d + m a place, and with W_up = 0 they are the identity', async () => {
    const model = await tinyModel('gpt2');
    const adapter = await createAdapter(model, houlsby, { bottleneckSize: 5 });
    expect(adapter.report.trainableParameters).toBe(4 * (2 * 16 * 5 + 16 + 5));
    const parameters = Object.fromEntries(
      Object.entries(adapter.parameters).map(([name, x]) => [name, name.includes('adapter_up') ? x.mul(0) : x]),
    );
    expect(await logitsOf(model, TOKENS, adapter.hooks(parameters))).toEqual(await logitsOf(model, TOKENS, {}));
  });

  it('of LN-tuning is every normalisation that PEFT names, and nothing else', async () => {
    const adapter = await createAdapter(await tinyModel('gpt2'), lnTuning);
    const norms = ['transformer.h.0.ln_1', 'transformer.h.0.ln_2', 'transformer.h.1.ln_1', 'transformer.h.1.ln_2'];
    const expected = [...norms, 'transformer.ln_f'].flatMap((norm) =>
      ['weight', 'bias'].map((tensor) => `${norm}.ln_tuning_layers.${tensor}`),
    );
    expect(Object.keys(adapter.parameters).sort()).toEqual(expected.sort());
  });
});

describe('BitFit', () => {
  it('trains every bias of the model and nothing else, or those that are asked for', async () => {
    for (const modelType of ['gpt2', 'qwen2'] as const) {
      const model = await tinyModel(modelType);
      const biases = Object.keys(model.weights).filter((name) => name.endsWith('.bias'));
      const { parameters, report } = await createAdapter(model, bitFit);
      expect(Object.keys(parameters).sort()).toEqual(biases.sort());
      expect(report.matched.map((name) => `${name}.bias`).sort()).toEqual(biases);
    }
    const some = await createAdapter(await tinyModel('qwen2'), bitFit, { targetModules: ['k_proj'] });
    expect(Object.keys(some.parameters)).toEqual([0, 1].map((i) => `model.layers.${i}.self_attn.k_proj.bias`));
  });
});

/** EVA's (arXiv 2410.07170) first step, of another package: A from the activations of rows, over one pass. */
function fromActivations(seen: string[]): PeftMethod<{ readonly targetModules: readonly string[] }> {
  return {
    peftType: 'ACTIVATIONS',
    options: methodOptions('ACTIVATIONS', { targetModules: listOf(text({}), { default: [] }) }),
    fileDefaults: {},
    plan({ network }, config) {
      const targets = [...network.modules.values()].filter(({ name }) =>
        config.targetModules.some((ending) => name.endsWith(ending)),
      );
      return { config, plan: { ...NO_PLAN, targets }, skipped: [] };
    },
    async prepare({ base, plan, rows }) {
      const means: Record<string, ReturnType<typeof tensor>> = {};
      const names = new Set(plan.targets.map(({ name }) => name));
      for (const row of rows) {
        const shape = [1, row.length];
        const tokens = tensor(Int32Array.from(row), shape, 'int32');
        base.network.hidden(
          base.weights,
          { tokens, positions: iota(shape, 1), segments: zeros(shape, 'int32') },
          {
            linear(x, layer) {
              if (names.has(layer.name)) {
                seen.push(layer.name);
                means[`${layer.name}.mean`] = x.mean(1);
              }
              return layer.apply(x);
            },
          },
        );
      }
      return means;
    },
    init: (_, __, ___, prepared) => ({ trained: prepared, frozen: {} }),
    hooks: (_, { trained }) => ({
      linear: (x, layer) => layer.apply(trained[`${layer.name}.mean`] ? x.sub(trained[`${layer.name}.mean`]!) : x),
    }),
  };
}

describe('a method of somebody else', () => {
  it('prepares its start from the activations of rows', async () => {
    const model = await tinyModel('llama');
    const seen: string[] = [];
    const method = fromActivations(seen);
    const adapter = await createAdapter(model, method, { targetModules: ['v_proj'] }, { rows: [TOKENS] });
    expect(seen).toEqual(['model.layers.0.self_attn.v_proj', 'model.layers.1.self_attn.v_proj']);
    expect(Object.values(adapter.parameters).map(({ shape }) => shape)).toEqual([
      [1, 16],
      [1, 16],
    ]);
    expect(
      farthest(await logitsOf(model, TOKENS, adapter.hooks(adapter.parameters)), await logitsOf(model, TOKENS, {})),
    ).toBeGreaterThan(1e-3);
  });
});

describe('what cannot be is refused', () => {
  it.each<readonly [string, LayerMethod<never> | PeftMethod<never>, object, RegExp]>([
    ['prompt tuning without a number of tokens', promptTuning as never, {}, /numVirtualTokens null: it must be given/],
    ['more virtual tokens than the context', prefixTuning as never, { numVirtualTokens: 31 }, /from 1 to 30/],
    ['masks of another context', cpt as never, { cptTokenIds: [1, 2], cptMask: [1] }, /cptMask is of 1 tokens, .* 2/],
    ['a context of no tokens of the model', cpt as never, { cptTokenIds: [1, 99] }, /99 is no token id/],
    ['more entries than a weight', shira as never, { r: 9 }, /r 9 are 288 entries, and the weight has 256/],
    [
      'a feed-forward module that is no target',
      ia3 as never,
      { targetModules: ['k_proj'], feedforwardModules: ['up_proj'] },
      /"up_proj" is none of the targets/,
    ],
    ['AdaLoRA without the length of the run', adaLora as never, {}, /totalStep must be given/],
    ['a norm that is not there', lnTuning as never, { targetModules: ['q_norm'] }, /"q_norm" matches no module/],
    [
      'PiSSA with more than all singular values',
      lora as never,
      { initLoraWeights: 'pissa', r: 17 },
      /has (16|8) singular values/,
    ],
    ['BitFit of a model without biases', bitFit as never, {}, /llama has none here/],
    ['more coefficients than a weight', fourierFt as never, {}, /nFrequency 1000 is not from 1 to 256, inputs/],
    ['more wavelets than entries', waveFt as never, {}, /nFrequency 2592 is not from 1 to 256, inputs/],
    ['a wavelet that is not there', waveFt as never, { waveletFamily: 'coif3' }, /waveletFamily is "coif3"/],
    ['wavelets by size', waveFt as never, { proportionalParameters: true }, /proportionalParameters is not supported/],
    ['OSF that keeps everything', osf as never, { effectiveRank: 8, targetModules: ['k_proj'] }, /keeps 8 of 8/],
    ['LoRA-XS of more directions than there are', loraXs as never, { r: 20 }, /has (16|8) singular values, not 20/],
    ['MoLE of nothing', mole as never, {}, /adapters must be given/],
    ['blocks of BOFT that do not fit', boft as never, { boftNButterflyFactor: 4 }, /needs blocks .* it has 4 of 4/],
    ['an option of another method', vera as never, { loraAlpha: 3 }, /loraAlpha/],
  ])('%s', async (_, method, config, message) => {
    const model = await tinyModel('llama');
    await expect(createAdapter(model, method as never, config as never)).rejects.toThrow(message);
  });

  it('every method is known by its peft_type', () => {
    for (const [type, { peftType }] of Object.entries(peftMethods)) expect(peftType).toBe(type);
  });
});

describe('rows with different methods in one pass', () => {
  it('have what each of them has alone', async () => {
    const model = await tinyModel('llama');
    const moved = async (adapter: Awaited<ReturnType<typeof createAdapter>>, seed: number) => {
      const entries = Object.entries(adapter.parameters).map(([name, value], i) => {
        const noise = Key.fromSeed(seed).child(i).normalHost(value.size);
        return [
          name,
          value.add(
            tensor(
              noise.map((x) => 0.1 * x),
              value.shape,
            ),
          ),
        ] as const;
      });
      return { ...adapter, parameters: Object.fromEntries(entries) };
    };
    const adapters = [
      await moved(await createAdapter(model, vera, { r: 4 }), 1),
      await moved(await createAdapter(model, ia3), 2),
      await moved(await createAdapter(model, lnTuning), 3),
      await moved(await createAdapter(model, promptTuning, { numVirtualTokens: 5 }), 4),
      await moved(await createAdapter(model, prefixTuning, { numVirtualTokens: 2 }), 5),
      await moved(await createAdapter(model, houlsby, { bottleneckSize: 4 }), 6),
      await moved(await createAdapter(model, xLora, { adapters: experts }), 7),
      undefined,
    ];
    const runner = new ModelRunner(model);
    const rows = adapters.map((adapter, i) => {
      const tokens = TOKENS.slice(0, 3 + (i % 3));
      return { sequence: runner.start(), tokens, ...(adapter && { adapter }) };
    });
    const results = await runner.extend(rows);
    const second = await runner.extend(rows.map((row) => ({ ...row, tokens: [7] })));
    for (const [i, adapter] of adapters.entries()) {
      const hooks = adapter ? adapter.hooks(adapter.parameters) : {};
      const vocabulary = model.config.vocabSize;
      const expected = await logitsOf(model, [...rows[i]!.tokens, 7], hooks);
      expect(farthest([...second[i]!.logits[0]!], expected.slice(-vocabulary))).toBeLessThan(1e-5);
      expect(farthest([...results[i]!.logits[0]!], expected.slice(-2 * vocabulary, -vocabulary))).toBeLessThan(1e-5);
    }
  });
});
