import { join } from 'node:path';
import { type Engine, Key, setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adamW } from '@posttrain/core-tensor/optim';
import { decode, loadWeights } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { beforeEach, describe, expect, it, type TestContext } from 'vitest';
import { useSwiftShader } from '../../core-tensor/test/vulkan.js';
import { negativeLogLikelihood, Trainer } from '../src/index.js';
import { modelOf, threeRows as rows } from './model.js';

const folder = join(import.meta.dirname, '../../../goldens/models/qwen3');

const missing = await useSwiftShader();
const needsGpu = (context: TestContext) => {
  if (missing !== undefined) context.skip(missing);
};
const onCpu: string[] = [];
let onGpu = 0;
const gpu = onnxruntimeEngine({
  device: 'webgpu',
  onAssignment: (nodes) => {
    onGpu += nodes.filter(({ provider }) => /^WebGpu/.test(provider)).length;
    onCpu.push(...nodes.filter(({ provider }) => /^CPU/.test(provider)).map(({ op, name }) => `${op} ${name}`));
  },
});

/** Losses of a few steps, with LoRA or of all weights. */
async function losses(engine: Engine, isLora: boolean): Promise<number[]> {
  setEngine(engine);
  const model = modelOf(await loadWeights(folder));
  const adapter = isLora ? { adapter: await createAdapter(model, lora, { r: 4 }, { seed: 1 }) } : {};
  const trainer = await Trainer.create(model, { optimizer: adamW(), ...adapter });
  const all: number[] = [];
  for (let i = 0; i < 4; i++) {
    all.push((await trainer.forwardBackward(rows, negativeLogLikelihood)).loss);
    await trainer.optimStep({ learningRate: 0.01 });
  }
  return all;
}

async function tokens(engine: Engine): Promise<string[]> {
  setEngine(engine);
  const { network, weights } = modelOf(await loadWeights(folder));
  const row = { maxTokens: 6, temperature: 0, topK: undefined, topP: 1, minP: 0, repetitionPenalty: 1 };
  const prompts = [
    [3, 17, 44],
    [9, 2],
  ].map((prompt) => ({
    ...row,
    prompt,
    key: Key.fromSeed(1),
    isEnd: () => false,
  }));
  const all: string[] = [];
  for await (const event of decode(network, weights, prompts)) all.push(`${event.row} ${event.token}`);
  return all.sort();
}

describe('a decoder on WebGPU', () => {
  beforeEach(needsGpu);

  it.each([
    ['LoRA', true],
    ['all weights', false],
  ])('trains as on the CPU, with no node on the CPU: %s', async (_, isLora) => {
    onCpu.length = 0;
    onGpu = 0;
    const got = await losses(gpu, isLora);
    const wanted = await losses(onnxruntimeEngine(), isLora);
    for (const [i, loss] of got.entries()) expect(Math.abs(loss - wanted[i]!)).toBeLessThan(1e-3 * wanted[i]!);
    expect(got.at(-1)).toBeLessThan(got[0]!);
    expect(onCpu).toEqual([]);
    expect(onGpu).toBeGreaterThan(150);
  });

  it('decodes the tokens of the CPU, with no node on the CPU', async () => {
    onCpu.length = 0;
    onGpu = 0;
    expect(await tokens(gpu)).toEqual(await tokens(onnxruntimeEngine()));
    expect(onCpu).toEqual([]);
    expect(onGpu).toBeGreaterThan(150);
  });
});
