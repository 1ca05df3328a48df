import { join } from 'node:path';
import {
  compile,
  type Engine,
  iota,
  Key,
  normal,
  realize,
  referenceEngine,
  type Tensor,
  tensor,
  tokenLogProbs,
  valueAndGrad,
  zeros,
} from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { mapNamed, type Named } from '@posttrain/core-tensor/optim';
import { onEngine } from '@posttrain/core-tensor/testing';
import {
  type CausalLM,
  decode,
  loadWeights,
  predictionLogProbs,
  type QuantizationOptions,
  sequenceLogProbs,
} from '@posttrain/lm';
import {
  createAdapter,
  loadAdapter,
  loftq,
  lora,
  MergeError,
  mergeAdapter,
  unmergeAdapter,
  withAdapterParameters,
} from '@posttrain/peft';
import { describe, expect, it } from 'vitest';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import { sft } from '../src/index.js';
import { modelOf } from './model.js';
import { countingRows } from './sft-run.js';

const NF4: QuantizationOptions = { method: 'nf4' };

/** Every stored number of a model's weights, bit for bit. */
async function bytesOf(model: CausalLM): Promise<Record<string, number[]>> {
  const entries = Object.entries(model.weights).map(async ([name, w]) => [name, Array.from(await w.data())]);
  return Object.fromEntries(await Promise.all(entries));
}

/** The gradient of a loss for an adapter whose parameters have all been moved off where they start. */
async function gradientOf(model: CausalLM, useDora = false): Promise<Named> {
  const adapter = await createAdapter(model, lora, { r: 2, targetModules: 'all-linear', useDora }, { seed: 1 });
  const names = Object.keys(adapter.parameters);
  const moved = mapNamed(adapter.parameters, (p, name) =>
    p.add(normal(Key.fromSeed(5).child(names.indexOf(name)).toTensor(), p.shape).mul(0.1)),
  );
  const tokens = tensor([[3, 17, 39, 0, 21, 8]], [1, 6], 'int32');
  const input = {
    tokens,
    positions: tensor([[0, 1, 2, 3, 4, 5]], [1, 6], 'int32'),
    segments: tensor([[0, 0, 0, 0, 0, 0]], [1, 6], 'int32'),
  };
  const width = model.config.hiddenSize;
  const direction = tensor(
    Float32Array.from({ length: 6 * width }, (_, i) => Math.sin(i * i)),
    [1, 6, width],
  );
  const loss = (parameters: Named): Tensor =>
    model.network.hidden(model.weights, input, adapter.hooks(parameters)).mul(direction).mean();
  const { gradient } = valueAndGrad(loss)(moved);
  await realize(Object.values(gradient as Named));
  return gradient as Named;
}

/** Equal to within `tolerance` of the largest element of each. */
async function expectEqualGradients(got: Named, wanted: Named, tolerance = 1e-5): Promise<void> {
  expect(Object.keys(got)).toEqual(Object.keys(wanted));
  for (const [name, g] of Object.entries(wanted)) {
    const [a, b] = [await got[name]!.toArray(), await g.toArray()];
    const scale = Math.max(...b.map(Math.abs));
    expect(scale, name).toBeGreaterThan(0);
    expect(Math.max(...a.map((value, i) => Math.abs(value - b[i]!))) / scale, name).toBeLessThan(tolerance);
  }
}

const INT4_HEAD: QuantizationOptions = { method: 'int4', blockSize: 16, head: true };

/** A loss over log-probabilities, and its gradient for an adapter on a linear layer and on the output layer. */
async function scoredGradient(model: CausalLM) {
  const adapter = await createAdapter(model, lora, {
    r: 2,
    targetModules: ['q_proj', 'lm_head'],
    initLoraWeights: false,
  });
  const shape = [1, 6];
  const tokens = tensor([[3, 17, 39, 0, 21, 8]], shape, 'int32');
  const input = { tokens, positions: iota(shape, 1), segments: zeros(shape, 'int32') };
  const loss = (parameters: Named): Tensor => {
    const hooks = adapter.hooks(parameters);
    return predictionLogProbs(model, input, { hooks }).logProbs.mean();
  };
  const { value, gradient } = valueAndGrad(loss)(adapter.parameters);
  await realize([value, ...Object.values(gradient as Named)]);
  return { value: await value.item(), gradient: gradient as Named };
}

const golden = join(import.meta.dirname, '../../../goldens/quantization/qlora');

describe('QLoRA', () => {
  it("has the logits, loss and gradients of PEFT over bitsandbytes' base", async () => {
    const model = modelOf(await loadWeights(join(golden, 'base')), 'base');
    const adapter = await loadAdapter(model, join(golden, 'adapter'));
    const file = await openSafetensors(join(golden, 'expected.safetensors'));
    const numbers = async (name: string) => Array.from((await file.read(name)).data);
    const [ids, wanted] = [await numbers('input_ids'), await numbers('logits')];
    const input = {
      tokens: tensor(Int32Array.from(ids), [2, 10]),
      positions: iota([2, 10], 1),
      segments: zeros([2, 10], 'int32'),
    };
    const targets = tensor(
      ids.filter((_, i) => i % 10 !== 0),
      [18],
      'int32',
    );
    const compute = compile((weights: Named, parameters: Named) => {
      const objective = (trained: Named): readonly [Tensor, Tensor] => {
        const hooks = adapter.hooks(trained);
        const hidden = model.network.hidden(weights, input, hooks);
        const head = model.network.head(weights, hooks);
        const states = hidden.slice(1, 0, 9).reshape([18, 64]);
        const { logProbs } = tokenLogProbs(states, head, targets);
        return [logProbs.mean().neg(), hidden.reshape([20, 64]).matmul(head, { transposeB: true })];
      };
      const { value, gradient } = valueAndGrad(objective)(parameters);
      return { loss: value[0], logits: value[1], gradient: gradient as Named };
    });
    const { loss, logits, gradient } = await compute(model.weights, adapter.parameters);
    expect(Math.abs((await loss.item()) - (await numbers('loss'))[0]!)).toBeLessThan(1e-5);
    const worst = (got: readonly number[], other: readonly number[]) =>
      Math.max(...got.map((value, i) => Math.abs(value - other[i]!)));
    expect(worst(await logits.toArray(), wanted)).toBeLessThan(1e-4);
    for (const [name, g] of Object.entries(gradient)) {
      const theirs = await numbers(`gradient.base_model.model.${name}`);
      expect(worst(await g.toArray(), theirs) / Math.max(...theirs.map(Math.abs)), name).toBeLessThan(1e-4);
    }
    await file.close();
  });

  it('learns almost as a float base does, and leaves the codes as they were, bit for bit', async () => {
    const float = await tinyModel('llama');
    const model = await float.quantize(NF4);
    const before = await bytesOf(model);
    const run = async (base: CausalLM) => {
      const adapter = await createAdapter(base, lora, { r: 4, targetModules: 'all-linear' }, { seed: 7 });
      const options = { rows: countingRows, batchSize: 4, learningRate: 0.01, epochs: 8, loggingSteps: 1 };
      const { history, adapter: trained } = await sft({ model: base, adapter, ...options });
      return { losses: history.map(({ metrics }) => metrics.loss!), trained: trained! };
    };
    const quantized = await run(model);
    const [first, last] = [quantized.losses[0]!, quantized.losses.at(-1)!];
    const wanted = (await run(float)).losses.at(-1)!;
    expect(last).toBeLessThan(first / 2);
    expect(Math.abs(last - wanted)).toBeLessThan(0.15 * (first - wanted));
    expect(await bytesOf(model)).toEqual(before);
    // What was learnt is the adapter: without it the base is as bad as it was.
    const sequence = [countingRows[0]!.input_ids];
    const mean = (values: Iterable<number>) => [...values].reduce((a, b, _, all) => a + b / all.length, 0);
    const [without] = await sequenceLogProbs(model, sequence);
    const [with_] = await sequenceLogProbs(model, sequence, { adapter: quantized.trained });
    expect(mean(with_!.logProbs)).toBeGreaterThan(mean(without!.logProbs) + 1);
  });

  describe.each([
    ['onnxruntime', onnxruntimeEngine()],
    ['reference', referenceEngine()],
  ])('on the %s engine', (_, engine) => {
    it.each(['llama', 'gpt2'] as const)('%s: gradients are those over the dequantised base', (modelType) =>
      onEngine(engine, async () => {
        const model = await (await tinyModel(modelType)).quantize(NF4);
        await expectEqualGradients(await gradientOf(model), await gradientOf(await model.dequantize()));
      }),
    );

    it('int8: gradients go straight through the rounding, to within what the rounding changes', () =>
      onEngine(engine, async () => {
        const model = await (await tinyModel('llama')).quantize({ method: 'int8' });
        await expectEqualGradients(await gradientOf(model), await gradientOf(await model.dequantize()), 0.2);
      }));
  });

  it('is DoRA as well: its norms are of the weights that the codes stand for', async () => {
    const model = await (await tinyModel('gpt2')).quantize({ method: 'int4', blockSize: 16 });
    await expectEqualGradients(await gradientOf(model, true), await gradientOf(await model.dequantize(), true));
  });

  const rows = countingRows.map(({ input_ids }) => input_ids);
  it.each([
    { method: 'int4', blockSize: 16 },
    { method: 'hqq', groupSize: 16 },
    { method: 'gptq', rows, groupSize: 16 },
    { method: 'awq', rows, groupSize: 16 },
    { method: 'smoothquant', rows },
    { method: 'int8' },
    // LLM.int8() with columns that are multiplied as floats.
    { method: 'int8', threshold: 0.5 },
  ] as const)('is the same over a base by $method, which a run leaves as it was, bit for bit', async (options) => {
    const model = await (await tinyModel('llama')).quantize(options);
    const before = await bytesOf(model);
    if (options.method === 'hqq' || options.method === 'gptq') {
      await expectEqualGradients(await gradientOf(model), await gradientOf(await model.dequantize()));
    }
    const adapter = await createAdapter(model, lora, { r: 2, targetModules: ['q_proj'] }, { seed: 7 });
    const run = { rows: countingRows, batchSize: 4, learningRate: 0.01, steps: 2 };
    const { adapter: trained } = await sft({ model, adapter, ...run });
    expect(await bytesOf(model)).toEqual(before);
    const moved = Object.entries(trained!.parameters).filter(([name]) => name.includes('lora_B'));
    for (const [, b] of moved) expect(Math.max(...(await b.toArray()).map(Math.abs))).toBeGreaterThan(0);
  });

  it.each(['gptq', 'awq'])(
    'is the same over a folder of %s, which a run leaves as it was, bit for bit',
    async (name) => {
      const folder = join(import.meta.dirname, '../../../goldens/packed-int4', name);
      const model = modelOf(await loadWeights(folder), name);
      const before = await bytesOf(model);
      const gradients = async (engine: Engine) =>
        onEngine(engine, async () => {
          const here = modelOf(await loadWeights(folder), name);
          return [await gradientOf(here), await gradientOf(await here.dequantize())] as const;
        });
      // The same products in the same order; kernels of ours add in another one.
      const [packed, float] = await gradients(onnxruntimeEngine({ cpuKernels: 'off' }));
      await expectEqualGradients(packed, float);
      // Beside float64 both are 2 to 3e-5 of the largest element away, which is float32's own rounding here.
      await expectEqualGradients(await gradientOf(model), (await gradients(referenceEngine()))[1], 5e-5);
      const adapter = await createAdapter(model, lora, { r: 2, targetModules: 'all-linear' }, { seed: 7 });
      await sft({ model, adapter, rows: countingRows, batchSize: 4, learningRate: 0.01, steps: 2 });
      expect(await bytesOf(model)).toEqual(before);
    },
  );

  it('starts nearer to the float model with LoftQ, and learns from there over the same codes', async () => {
    const float = await tinyModel('llama');
    const config = { r: 4, loraAlpha: 4, targetModules: 'all-linear' };
    const { model, adapter } = await loftq(float, config, { iterations: 3 });
    const before = await bytesOf(model);
    const mean = async (base: CausalLM, on?: typeof adapter) => {
      const scored = await sequenceLogProbs(base, rows, on ? { adapter: on } : {});
      return scored.flatMap(({ logProbs }) => [...logProbs]);
    };
    const [wanted, plain, with_] = [
      await mean(float),
      await mean(await float.quantize(NF4)),
      await mean(model, adapter),
    ];
    const distance = (values: readonly number[]) => Math.hypot(...values.map((x, i) => x - wanted[i]!));
    expect(distance(with_)).toBeLessThan(distance(plain));
    const { history } = await sft({
      model,
      adapter,
      rows: countingRows,
      batchSize: 4,
      learningRate: 0.01,
      epochs: 4,
      loggingSteps: 1,
    });
    expect(history.at(-1)!.metrics.loss!).toBeLessThan(0.8 * history[0]!.metrics.loss!);
    expect(await bytesOf(model)).toEqual(before);
  });

  it('merges into the dequantised base only, and says so', async () => {
    const model = await (await tinyModel('llama')).quantize(NF4);
    const start = await createAdapter(model, lora, { r: 2, targetModules: 'all-linear', initLoraWeights: false });
    expect(start.report.totalParameters).toBe(start.report.trainableParameters + model.storage.parameters);
    const adapter = withAdapterParameters(
      start,
      mapNamed(start.parameters, (p) => p.mul(0.1)),
    );
    await expect(mergeAdapter(model, adapter)).rejects.toThrow(/q_proj is quantised \(nf4\): merge into await model/);
    await expect(unmergeAdapter(model, adapter)).rejects.toThrow(MergeError);
    const { drift, model: merged } = await mergeAdapter(await model.dequantize(), adapter);
    expect(drift).toBeLessThan(1e-4);
    const sequence = [[3, 17, 39, 0, 21]];
    const [a, b] = [await sequenceLogProbs(merged, sequence), await sequenceLogProbs(model, sequence, { adapter })];
    for (const [i, value] of a[0]!.logProbs.entries()) expect(value).toBeCloseTo(b[0]!.logProbs[i]!, 4);
  });

  it('says that codes cannot be trained', async () => {
    const model = await (await tinyModel('llama')).quantize(NF4);
    await expect(sft({ model, rows: countingRows, steps: 1 })).rejects.toThrow(
      /is uint8; the model is quantised \(nf4\).*adapter: await createAdapter\(model, lora\).*model\.dequantize\(\)/,
    );
  });
});

describe.each(['llama', 'qwen2'] as const)('over int4 with its output layer, %s', (modelType) => {
  it('has the loss and gradients of the dequantised base, also on the output layer', async () => {
    const model = await (await tinyModel(modelType)).quantize(INT4_HEAD);
    const [got, wanted] = [await scoredGradient(model), await scoredGradient(await model.dequantize())];
    expect(got.value).toBeCloseTo(wanted.value, 5);
    await expectEqualGradients(got.gradient, wanted.gradient);
    expect(Object.keys(got.gradient)).toContain('lm_head.lora_A.weight');
  });

  it.each(['float32', 'int8'] as const)(
    'learns, activations %s, leaves the codes, and samples what it scores',
    async (activations) => {
      const model = await (await tinyModel(modelType)).quantize({ ...INT4_HEAD, activations });
      const before = await bytesOf(model);
      const run = async (base: CausalLM) => {
        const start = await createAdapter(base, lora, { r: 4, targetModules: 'all-linear' }, { seed: 7 });
        const options = { rows: countingRows, batchSize: 4, learningRate: 0.01, epochs: 8, loggingSteps: 1 };
        const { history, adapter } = await sft({ model: base, adapter: start, ...options });
        return { losses: history.map(({ metrics }) => metrics.loss!), adapter: adapter! };
      };
      const { losses, adapter } = await run(model);
      expect(losses.at(-1)!).toBeLessThan(0.7 * losses[0]!);
      const wanted = (await run(await model.dequantize())).losses;
      const tolerance = activations === 'float32' ? 1e-3 : 0.03;
      for (const [i, loss] of losses.entries()) expect(Math.abs(loss / wanted[i]! - 1)).toBeLessThan(tolerance);
      expect(await bytesOf(model)).toEqual(before);
      const prompt = countingRows[0]!.input_ids.slice(0, 3);
      const key = Key.fromSeed(3);
      const row = {
        prompt,
        maxTokens: 8,
        temperature: 1,
        topK: undefined,
        topP: 1,
        minP: 0,
        repetitionPenalty: 1,
        key,
      };
      const [tokens, logProbs]: [number[], number[]] = [[], []];
      const decoded = decode(model.network, model.weights, [{ ...row, isEnd: () => false }], { adapter });
      for await (const event of decoded) {
        tokens.push(event.token);
        logProbs.push(event.logProb!);
      }
      const [scored] = await sequenceLogProbs(model, [[...prompt, ...tokens]], { adapter });
      logProbs.forEach((logProb, i) => {
        expect(scored!.logProbs[prompt.length - 1 + i]).toBeCloseTo(logProb, 3);
      });
    },
  );

  it('merges an adapter of the output layer into the dequantised base, and says so', async () => {
    const model = await (await tinyModel(modelType)).quantize(INT4_HEAD);
    const targetModules = ['lm_head'];
    const adapter = await createAdapter(model, lora, { r: 2, targetModules, initLoraWeights: false });
    await expect(mergeAdapter(model, adapter)).rejects.toThrow(/is quantised \(int4\): merge into await model/);
    const onlyHead = await (await tinyModel(modelType)).quantize({
      ...INT4_HEAD,
      skip: [...model.network.modules.values()].filter(({ kind }) => kind === 'linear').map(({ name }) => name),
    });
    await expect(mergeAdapter(onlyHead, adapter)).rejects.toThrow(/lm_head is quantised \(int4\)/);
    const { drift, model: merged } = await mergeAdapter(await model.dequantize(), adapter);
    expect(drift).toBeLessThan(1e-4);
    const sequence = [[3, 17, 39, 0, 21]];
    const [a, b] = [await sequenceLogProbs(merged, sequence), await sequenceLogProbs(model, sequence, { adapter })];
    for (const [i, value] of a[0]!.logProbs.entries()) expect(value).toBeCloseTo(b[0]!.logProbs[i]!, 4);
  });
});
