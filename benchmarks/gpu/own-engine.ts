import {
  compile,
  type DType,
  float32ToFloat16,
  iota,
  logSoftmax,
  mapTree,
  ones,
  scalar,
  setEngine,
  type Tensor,
  tensor,
  valueAndGrad,
  zeros,
} from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adamW, mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { CausalLM, parseModelConfig, predictionLogProbs, type Weights } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { type ModelConfig, randomTokens } from '../cases.js';
import { stepFlops } from '../flops.js';
import { anyTokenizer } from '../random-model.js';
import { GPU_SHAPES, type GpuShape, PATTERN, pattern, patternStart, WEIGHT_DEVIATION } from './shapes.js';

export interface EngineSettings {
  readonly device: 'webgpu' | 'cpu';
  readonly dtype: 'float32' | 'float16';
  readonly quick: boolean;
}

/** Figures by name, and what they were measured with. */
export type Figures = Record<string, unknown>;

const seconds = async (work: () => Promise<unknown>): Promise<number> => {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
};

/** The smallest of the repetitions after two to warm up. `work` must wait for the device. */
async function least(repetitions: number, work: () => Promise<unknown>): Promise<number> {
  await work();
  await work();
  const times: number[] = [];
  for (let i = 0; i < repetitions; i++) times.push(await seconds(work));
  return Math.min(...times);
}

function start({ device }: EngineSettings): void {
  setEngine(onnxruntimeEngine({ device }));
}

/** A tensor of the dtype with entries of the pattern, scaled. */
function patterned(shape: readonly number[], scale: number, dtype: DType, from = 0): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  const block = pattern().map((x) => x * scale);
  const source = dtype === 'float16' ? float32ToFloat16(block) : block;
  const data = dtype === 'float16' ? new Uint16Array(size) : new Float32Array(size);
  for (let at = 0, offset = from; at < size; offset = 0) {
    const part = source.subarray(offset, Math.min(PATTERN, offset + size - at));
    data.set(part, at);
    at += part.length;
  }
  return tensor(data, shape, dtype);
}

/** GFLOP/s of square products: several in one graph, each of the last one's result, so that one wait is spread thin. */
export async function matmulRate(settings: EngineSettings): Promise<Figures> {
  start(settings);
  const rates: Figures = {};
  const chain = 8;
  for (const size of settings.quick ? [128] : [1024, 2048, 4096, 8192]) {
    const [a, b] = [
      patterned([size, size], 1, settings.dtype),
      patterned([size, size], 2 / Math.sqrt(size), settings.dtype),
    ];
    const product = compile((x: Tensor, y: Tensor) => {
      let result = x;
      for (let i = 0; i < chain; i++) result = result.matmul(y);
      // One number to wait for.
      return result.slice(0, 0, 1).slice(1, 0, 1).cast('float32');
    });
    const time = await least(settings.quick ? 1 : 5, async () => (await product(a, b)).data());
    rates[`${size} GFLOP/s`] = (chain * 2 * size ** 3) / time / 1e9;
    await product.dispose();
  }
  return rates;
}

/** GB/s, read and written bytes added, of negating a large array over and over. */
export async function copyBandwidth(settings: EngineSettings): Promise<Figures> {
  start(settings);
  const bytes = settings.quick ? 2 ** 20 : 2 ** 28;
  const x = patterned([bytes / (settings.dtype === 'float16' ? 2 : 4)], 1, settings.dtype);
  const times = 16;
  const one = compile((y: Tensor) => ({ y: y.neg() }), { donate: { 0: 'y' } });
  let state = { y: x.neg() };
  const time = await least(settings.quick ? 1 : 5, async () => {
    for (let i = 0; i < times; i++) state = await one(state.y);
    await state.y.slice(0, 0, 1).cast('float32').data();
  });
  return { 'GB/s': (times * 2 * bytes) / time / 1e9, bytes };
}

async function modelOf(config: ModelConfig, dtype: EngineSettings['dtype']): Promise<CausalLM> {
  const parts = { config: parseModelConfig(config), tokenizer: await anyTokenizer(), name: 'made up', weights: {} };
  const model = new CausalLM(parts);
  const scale = WEIGHT_DEVIATION * Math.sqrt(12);
  const weights = model.network.parameters.map(({ name, shape, init }, i) => [
    name,
    init === 'normal' ? patterned(shape, scale, dtype, patternStart(i)) : ones(shape, dtype),
  ]);
  return model.withWeights(Object.fromEntries(weights) as Weights);
}

/** Gradients of float16 that would round to zero are kept by scaling the loss. */
const LOSS_SCALE = 1024;
const RANK = 16;
/** Rows whose logits exist at one time. */
const HEAD_ROWS = 256;

/** Mean negative log-likelihood with the softmax in float32, whose sums over a large vocabulary float16 cannot hold. */
function widenedLoss(model: CausalLM, weights: Weights, hidden: Tensor, targets: Tensor): Tensor {
  const [n] = targets.shape as [number];
  const head = model.network.head(weights);
  const sums = Array.from({ length: Math.ceil(n / HEAD_ROWS) }, (_, i) => {
    const [from, to] = [i * HEAD_ROWS, Math.min(n, (i + 1) * HEAD_ROWS)];
    const logits = hidden.slice(0, from, to).matmul(head, { transposeB: true }).cast('float32');
    return logSoftmax(logits)
      .takeAlongAxis(targets.slice(0, from, to).expandDims(1), 1)
      .sum();
  });
  return sums.reduce((a, b) => a.add(b)).mul(-1 / n);
}

/** LoRA r = 16 on every linear layer, AdamW, all in one compiled function; the adapter and its moments are float32. */
export async function loraStep(
  settings: EngineSettings,
  shape: GpuShape,
  rows: number,
  length: number,
): Promise<Figures> {
  const { dtype } = settings;
  start(settings);
  const config = GPU_SHAPES[shape];
  const model = await modelOf(config, dtype);
  const adapter = await createAdapter(
    model,
    lora,
    { r: RANK, loraAlpha: 2 * RANK, targetModules: 'all-linear' },
    { seed: 0 },
  );
  const optimizer = adamW();
  const objective = (trained: Named, weights: Weights, tokens: Tensor) => {
    const hooks = adapter.hooks(mapNamed(trained, (p) => p.cast(dtype)));
    const input = { tokens, positions: iota([rows, length], 1), segments: zeros([rows, length], 'int32') };
    if (dtype === 'float32') {
      return predictionLogProbs({ network: model.network, weights }, input, { hooks }).logProbs.mean().neg();
    }
    const n = rows * (length - 1);
    const hidden = model.network
      .hidden(weights, input, hooks)
      .slice(1, 0, length - 1)
      .reshape([n, config.hidden_size]);
    return widenedLoss(model, weights, hidden, tokens.slice(1, 1).reshape([n])).mul(LOSS_SCALE);
  };
  const scale = dtype === 'float32' ? 1 : 1 / LOSS_SCALE;
  const step = compile(
    (
      state: { trained: Named; inner: ReturnType<typeof optimizer.init> },
      weights: Weights,
      tokens: Tensor,
      rate: Tensor,
    ) => {
      const { value, gradient } = valueAndGrad(objective)(state.trained, weights, tokens);
      const gradients = mapNamed(gradient as Named, (g) => g.mul(scale));
      const { parameters, state: inner } = optimizer.update(state.trained, gradients, state.inner, rate);
      return { state: { trained: parameters, inner }, loss: value.mul(scale) };
    },
    { name: 'loraStep', donate: { 0: 'state' } },
  );
  const trained = mapNamed(adapter.parameters, (p) => p.add(0));
  let state = { trained, inner: optimizer.init(trained) };
  const tokens = tensor(Int32Array.from(randomTokens(rows, length, config.vocab_size).flat()), [rows, length]);
  const losses: number[] = [];
  const run = async () => {
    const result = await step(state, model.weights, tokens, scalar(1e-4));
    state = result.state;
    losses.push(await result.loss.item());
  };
  const first = await seconds(run);
  const time = await least(settings.quick ? 1 : 10, run);
  const flops = stepFlops(config, { rows, tokens: length, rank: RANK });
  return {
    ...{ 'seconds a step': time, 'tokens/s': (rows * length) / time, 'GFLOP/s': flops / time / 1e9 },
    ...{ 'first step, seconds': first, losses: losses.slice(0, 4), rows, length },
  };
}

/** Greedy generation with the token chosen on the device: nothing crosses the bus until the end. */
export async function generation(settings: EngineSettings, shape: GpuShape, rows: number): Promise<Figures> {
  const { dtype } = settings;
  start(settings);
  const [prompt, steps] = settings.quick ? [16, 4] : [128, 64];
  const config = GPU_SHAPES[shape];
  const model = await modelOf(config, dtype);
  const capacity = prompt + steps;
  type Cache = ReturnType<typeof model.network.newCache>;
  const extend = compile(
    (state: { cache: Cache; lengths: Tensor }, weights: Weights, tokens: Tensor) => {
      const { hidden, cache } = model.network.extend(weights, { tokens, ...state });
      const [b, s, width] = hidden.shape as [number, number, number];
      const last = hidden.slice(1, s - 1, s).reshape([b, width]);
      const next = last.matmul(model.network.head(weights), { transposeB: true }).argMax(1).reshape([b, 1]);
      return { state: { cache, lengths: state.lengths.add(s) }, next };
    },
    { name: 'extend', donate: { 0: 'state' } },
  );
  const prompts = tensor(Int32Array.from(randomTokens(rows, prompt, config.vocab_size).flat()), [rows, prompt]);
  const times = { prefill: [] as number[], decode: [] as number[] };
  let generated: number[] = [];
  for (let repetition = 0; repetition < (settings.quick ? 2 : 5); repetition++) {
    const cache = mapTree(model.network.newCache(rows, capacity), (x) => x.cast(dtype));
    let result!: Awaited<ReturnType<typeof extend>>;
    times.prefill.push(
      await seconds(async () => {
        result = await extend({ cache, lengths: zeros([rows], 'int32') }, model.weights, prompts);
        await result.next.data();
      }),
    );
    const chosen = [result.next];
    times.decode.push(
      await seconds(async () => {
        for (let i = 1; i < steps; i++) {
          result = await extend(result.state, model.weights, result.next);
          chosen.push(result.next);
        }
        await result.next.data();
      }),
    );
    generated = await Promise.all(chosen.slice(0, 8).map(async (x) => (await x.data())[0]!));
  }
  const [prefill, decode] = [Math.min(...times.prefill), Math.min(...times.decode)];
  const count = model.network.parameters.reduce((sum, p) => sum + p.shape.reduce((a, b) => a * b, 1), 0);
  const bytes = count * (dtype === 'float16' ? 2 : 4);
  return {
    ...{ 'prefill tokens/s': (rows * prompt) / prefill, 'new tokens/s': (rows * (steps - 1)) / decode },
    ...{ 'seconds a decode step': decode / (steps - 1), 'weights GB/s': (bytes * (steps - 1)) / decode / 1e9 },
    ...{ 'first tokens of row 0': generated, rows, prompt, steps },
  };
}
