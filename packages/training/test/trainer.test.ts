import { join } from 'node:path';
import { concat, realize, referenceEngine, setEngine, where } from '@posttrain/core-tensor';
import { adamW, mapNamed, sgd } from '@posttrain/core-tensor/optim';
import { loadWeights, ModelMemoryError, networkOf, sequenceLogProbs } from '@posttrain/lm';
import { createAdapter, lora, mergeAdapter, withAdapterParameters } from '@posttrain/peft';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import { negativeLogLikelihood, type TokenLoss, Trainer, type TrainingRow, weightedSum } from '../src/index.js';
import { trainingBytes } from '../src/trainer/training-memory.js';
import { modelOf } from './model.js';

const folder = join(import.meta.dirname, '../../../goldens/models/qwen3');

const rows: TrainingRow[] = [
  [3, 17, 44, 9, 120, 7],
  [9, 2, 61],
  [100, 4, 8, 15, 16, 23, 42, 77],
  [12, 13, 14, 15],
].map((tokens) => ({ tokens, weights: tokens.slice(1).map(() => 1 / 17) }));

async function updatedWeights(maxTokensPerPass: number, split: number): Promise<number[]> {
  const trainer = await Trainer.create(modelOf(await loadWeights(folder)), { optimizer: sgd(), maxTokensPerPass });
  for (let i = 0; i < rows.length; i += split)
    await trainer.forwardBackward(rows.slice(i, i + split), negativeLogLikelihood);
  await trainer.optimStep({ learningRate: 0.5 });
  return trainer.parameters['model.layers.0.mlp.up_proj.weight']!.toArray();
}

beforeAll(() => setEngine(referenceEngine()));

describe('Trainer', () => {
  it('says before it starts what it needs, with the states of the optimizer', async () => {
    const model = modelOf(await loadWeights(folder));
    const size = Object.values(model.weights).reduce((sum, one) => sum + one.size, 0);
    // Copies and gradients; moments of Adam, and none of plain descent or in a file.
    expect(trainingBytes(model.weights, sgd(), false)).toBe(8 * size);
    expect(trainingBytes(model.weights, adamW(), false) - 16 * size).toBeLessThan(100);
    expect(trainingBytes(model.weights, adamW(), true)).toBe(8 * size);
    const adapter = await createAdapter(model, lora, { targetModules: 'all-linear', r: 2 }, { seed: 2 });
    expect(trainingBytes(adapter.parameters, adamW(), false)).toBeLessThan(4 * size);
    // Less than any machine can swap.
    const free = vi.spyOn(process, 'availableMemory').mockReturnValue(-1e15);
    try {
      const problem = /training needs 0\.0 GB .* states of the optimizer.*Train an adapter/;
      await expect(Trainer.create(model, { optimizer: adamW() })).rejects.toThrow(problem);
      await expect(Trainer.create(model, { optimizer: adamW() })).rejects.toBeInstanceOf(ModelMemoryError);
      await expect(loadWeights(folder)).rejects.toThrow(/its weights need 0\.0 GB/);
    } finally {
      free.mockRestore();
    }
    await Trainer.create(model, { optimizer: adamW() });
  });

  it('gives one update however the rows are split', async () => {
    const whole = await updatedWeights(4096, 4);
    for (const other of [await updatedWeights(16, 4), await updatedWeights(4096, 1)]) {
      other.forEach((value, i) => {
        expect(Math.abs(value - whole[i]!)).toBeLessThan(1e-9);
      });
    }
  });

  it('evaluates to the mean log-probability that scoring gives, and leaves everything as it was', async () => {
    const { model, adapter } = await (async () => {
      const base = modelOf(await loadWeights(folder));
      const config = { targetModules: 'all-linear', r: 4, loraDropout: 0.5, initLoraWeights: false } as const;
      return { model: base, adapter: await createAdapter(base, lora, config, { seed: 2 }) };
    })();
    const sequences = rows.map(({ tokens }) => [...tokens]);
    const scored = await sequenceLogProbs(model, sequences, { adapter });
    const total = scored.reduce((sum, { logProbs }) => sum - logProbs.reduce((a, b) => a + b, 0), 0);
    const after = async (maxTokensPerPass: number, evaluates: boolean) => {
      const trainer = await Trainer.create(model, { optimizer: sgd(), adapter, seed: 5, maxTokensPerPass });
      await trainer.forwardBackward(rows.slice(0, 2), negativeLogLikelihood);
      const evaluated = evaluates ? await trainer.evaluate(rows, negativeLogLikelihood) : undefined;
      await trainer.forwardBackward(rows.slice(2), negativeLogLikelihood);
      await trainer.optimStep({ learningRate: 0.5 });
      return { evaluated, numbers: await Promise.all(Object.values(trainer.parameters).map((p) => p.toArray())) };
    };
    for (const maxTokensPerPass of [4096, 16]) {
      const { evaluated, numbers } = await after(maxTokensPerPass, true);
      expect(evaluated!.loss).toBeCloseTo(total / 17, 6);
      expect(evaluated!.tokens).toBe(21);
      expect(numbers).toEqual((await after(maxTokensPerPass, false)).numbers);
    }
  });

  it('evaluates to the loss of a training step without dropout, and stops where the signal fires', async () => {
    const trainer = await Trainer.create(modelOf(await loadWeights(folder)), { optimizer: sgd() });
    const { loss, metrics } = await trainer.evaluate(rows, negativeLogLikelihood);
    const trained = await trainer.forwardBackward(rows, negativeLogLikelihood);
    expect(loss).toBeCloseTo(trained.loss, 10);
    for (const [name, value] of Object.entries(trained.metrics)) expect(metrics[name]).toBeCloseTo(value, 10);
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    await expect(trainer.evaluate(rows, negativeLogLikelihood, { signal })).rejects.toBe(reason);
    await expect(trainer.evaluate([{ tokens: [1], weights: [] }], negativeLogLikelihood)).rejects.toThrow(/row 0/);
  });

  it('learns a batch by heart and leaves the model it started from alone', async () => {
    const model = modelOf(await loadWeights(folder));
    const before = await model.weights['model.norm.weight']!.toArray();
    const trainer = await Trainer.create(model, { optimizer: adamW() });
    const losses: number[] = [];
    for (let i = 0; i < 12; i++) {
      losses.push((await trainer.forwardBackward(rows, negativeLogLikelihood)).loss);
      await trainer.optimStep({ learningRate: 0.02 });
    }
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 4);
    expect(await model.weights['model.norm.weight']!.toArray()).toEqual(before);
    expect(networkOf(model.config).parameters.length).toBe(Object.keys(trainer.parameters).length);
  });

  it('continues from a snapshot as if nothing had happened', async () => {
    const model = modelOf(await loadWeights(folder));
    const step = async (trainer: Trainer) => {
      await trainer.forwardBackward(rows, negativeLogLikelihood);
      return trainer.optimStep({ learningRate: 0.01 });
    };
    const straight = await Trainer.create(model, { optimizer: adamW() });
    for (let i = 0; i < 4; i++) await step(straight);
    const first = await Trainer.create(model, { optimizer: adamW() });
    for (let i = 0; i < 2; i++) await step(first);
    const second = await Trainer.create(model, { optimizer: adamW() });
    second.restore(first.snapshot());
    for (let i = 0; i < 2; i++) await step(second);
    expect(second.step).toBe(4);
    for (const [name, p] of Object.entries(straight.parameters)) {
      expect(await second.parameters[name]!.toArray()).toEqual(await p.toArray());
    }
  });

  it('combines the metrics of micro-batches as the loss says', async () => {
    const lengths: TokenLoss = {
      name: 'lengths',
      annotations: [],
      combine: { shortest: 'min', longest: 'max' },
      compute({ logProbs, weights }) {
        const counts = weights.notEqual(0).cast('float32').sum(1);
        const shortest = where(counts.equal(0), 1000, counts).min();
        return {
          loss: weightedSum(logProbs, weights),
          metrics: { all: counts.sum(), shortest, longest: counts.max() },
        };
      },
    };
    for (const maxTokensPerPass of [4096, 16]) {
      const model = modelOf(await loadWeights(folder));
      const trainer = await Trainer.create(model, { optimizer: sgd(), maxTokensPerPass });
      const { metrics } = await trainer.forwardBackward(rows, lengths);
      expect(metrics).toEqual({ all: 17, shortest: 2, longest: 7 });
    }
  });

  it('refuses a snapshot of other tensors and stays as it is', async () => {
    const model = modelOf(await loadWeights(folder));
    const trainer = await Trainer.create(model, { optimizer: adamW() });
    const { step, tensors } = trainer.snapshot();
    const { 'parameters.model.norm.weight': norm, ...others } = tensors;
    expect(() => trainer.restore({ step: 7, tensors: others })).toThrow(/lacks parameters\.model\.norm\.weight$/);
    const doubled = concat([norm!, norm!], 0);
    expect(() =>
      trainer.restore({ step: 7, tensors: { ...tensors, 'parameters.model.norm.weight': doubled } }),
    ).toThrow(/has parameters\.model\.norm\.weight as Tensor\(float32\[32\]\), not Tensor\(float32\[16\]\)$/);
    expect(trainer.step).toBe(step);
    expect(trainer.parameters['model.norm.weight']).toBe(norm);
  });

  it('starts from weights that an engine has computed, and refuses those of another dtype', async () => {
    const start = await loadWeights(folder);
    const computed = mapNamed(start.weights, (weight) => weight.mul(1));
    await realize(Object.values(computed));
    const trainer = await Trainer.create(modelOf({ ...start, weights: computed }), { optimizer: sgd() });
    const name = 'model.norm.weight';
    expect(await trainer.parameters[name]!.toArray()).toEqual(await start.weights[name]!.toArray());
    const half = { ...start.weights, [name]: start.weights[name]!.cast('float16') };
    await expect(Trainer.create(modelOf({ ...start, weights: half }), { optimizer: sgd() })).rejects.toThrow(
      /model\.norm\.weight is float16; train it as float32/,
    );
  });

  it('refuses rows that train nothing, and an infinite loss before it reaches the weights', async () => {
    const trainer = await Trainer.create(modelOf(await loadWeights(folder)), { optimizer: sgd() });
    const blank = { tokens: [1, 2, 3], weights: [0, 0] };
    await expect(trainer.forwardBackward([rows[0]!, blank], negativeLogLikelihood)).rejects.toThrow(
      /row 1: trains no token/,
    );
    for (const [row, message] of [
      [
        { tokens: [1, -1, 3], weights: [1, 1] },
        'row 1: tokens, position 1: -1 is no token id; ids are whole numbers from 0 to ',
      ],
      [{ tokens: [1, 2, 3.5], weights: [1, 1] }, 'row 1: tokens, position 2: 3.5 is no'],
      [{ tokens: [1, Number.NaN, 3], weights: [1, 1] }, 'row 1: tokens, position 1: NaN is no'],
      [{ tokens: [1, 2, 1e6], weights: [1, 1] }, 'row 1: tokens, position 2: 1000000 is no'],
      [{ tokens: [1, 2, 3], weights: [1, 1], lengths: [4, -1] }, 'row 1: has -1 among its lengths'],
      [{ tokens: [1, 2, 3], weights: [1, Number.NaN] }, 'row 1: weights[1] is NaN'],
    ] as const) {
      await expect(trainer.forwardBackward([rows[0]!, row], negativeLogLikelihood)).rejects.toThrow(message);
    }
    const broken = {
      ...negativeLogLikelihood,
      compute: (x: Parameters<typeof negativeLogLikelihood.compute>[0]) => ({
        loss: x.logProbs.mul(0).log().sum(),
        metrics: {},
      }),
    };
    const before = await trainer.parameters['model.norm.weight']!.toArray();
    await expect(trainer.forwardBackward(rows, broken)).rejects.toThrow(/the loss is -Infinity/);
    expect(await trainer.parameters['model.norm.weight']!.toArray()).toEqual(before);
  });
});

describe('adapters', () => {
  it('are trained one after the other without touching each other or the base', async () => {
    const model = await tinyModel('llama');
    const before = await model.weights['model.layers.0.self_attn.q_proj.weight']!.toArray();
    const adapter = await createAdapter(model, lora, { r: 2 });
    const rows = [{ tokens: [1, 2, 3, 4, 5], weights: [0.25, 0.25, 0.25, 0.25] }];
    const train = async () => {
      const trainer = await Trainer.create(model, { optimizer: adamW(), adapter });
      const losses: number[] = [];
      for (let i = 0; i < 10; i++) {
        losses.push((await trainer.forwardBackward(rows, negativeLogLikelihood)).loss);
        await trainer.optimStep({ learningRate: 0.05 });
      }
      return { losses, adapter: withAdapterParameters(adapter, trainer.parameters) };
    };
    const first = await train();
    const second = await train();
    expect(first.losses.at(-1)!).toBeLessThan(first.losses[0]! / 2);
    expect(second.losses).toEqual(first.losses);
    const { drift } = await mergeAdapter(model, first.adapter);
    expect(drift).toBeLessThan(1e-5);
    expect(await model.weights['model.layers.0.self_attn.q_proj.weight']!.toArray()).toEqual(before);
  });
});
