import { join } from 'node:path';
import { realize, setEngine, type Tensor, tensor, where } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adamW } from '@posttrain/core-tensor/optim';
import { loadWeights } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  NonFiniteError,
  negativeLogLikelihood,
  type TokenLoss,
  type TokenLossInputs,
  Trainer,
  type TrainerOptions,
} from '../src/index.js';
import { contents, modelOf, threeRows as rows } from './model.js';

const folder = join(import.meta.dirname, '../../../goldens/models/qwen3');

const lossOf = (name: string, compute: (x: TokenLossInputs) => Tensor): TokenLoss => ({
  name,
  annotations: [],
  compute: (inputs) => ({ loss: compute(inputs), metrics: {} }),
});

/** Runs into the error that it gives. */
async function failure(run: Promise<unknown>): Promise<NonFiniteError> {
  const error = await run.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(NonFiniteError);
  return error as NonFiniteError;
}

async function modelWith(name: string, change: (weight: Tensor) => Tensor) {
  const parts = await loadWeights(folder);
  const weights = { ...parts.weights, [name]: change(parts.weights[name]!) };
  await realize(Object.values(weights));
  return modelOf({ ...parts, weights });
}

beforeAll(() => setEngine(onnxruntimeEngine({ threads: 1 })));

describe('a loss that is not finite', () => {
  it('is traced to the layer that overflows', async () => {
    const model = await modelWith('model.layers.1.mlp.up_proj.weight', (w) => w.mul(1e38));
    for (const gradientCheckpointing of [false, true]) {
      const trainer = await Trainer.create(model, { optimizer: adamW(), gradientCheckpointing });
      const { found, message } = await failure(trainer.forwardBackward(rows, negativeLogLikelihood));
      expect(found!.name).toMatch(/^model\.layers\.1\.mlp/);
      expect(found!.infinite).toBeGreaterThan(0);
      expect(message).toContain(found!.name);
      expect(message).toMatch(/step 0: the loss is NaN; first, .* in model\.layers\.1\.mlp/);
    }
  });
  it('is traced to a weight, trained or frozen', async () => {
    const name = 'model.layers.1.self_attn.k_proj.weight';
    const model = await modelWith(name, (w) => where(w.less(-0.1), Number.NaN, w));
    const trainer = await Trainer.create(model, { optimizer: adamW() });
    const { found } = await failure(trainer.forwardBackward(rows, negativeLogLikelihood));
    expect(found).toMatchObject({ op: 'argument', name: `parameters.${name}`, infinite: 0 });
    expect(found!.nan).toBeGreaterThan(0);
    const adapter = await createAdapter(model, lora, { r: 2 });
    const beside = await Trainer.create(model, { optimizer: adamW(), adapter });
    expect((await failure(beside.forwardBackward(rows, negativeLogLikelihood))).found!.name).toBe(`weights.${name}`);
  });
  it('is traced to the loss itself', async () => {
    const trainer = await Trainer.create(modelOf(await loadWeights(folder)), { optimizer: adamW() });
    const zero = lossOf('log of nothing', ({ logProbs }) => logProbs.mul(0).log().sum());
    const { found, message } = await failure(trainer.forwardBackward(rows, zero));
    expect(found).toMatchObject({ op: 'log', name: 'loss log of nothing' });
    expect(message).toMatch(/the loss is -Infinity/);
  });

  const options: Record<string, () => Promise<Trainer>> = {
    'all weights': async () => Trainer.create(modelOf(await loadWeights(folder)), { optimizer: adamW() }),
    'an adapter with dropout': async () => {
      const model = modelOf(await loadWeights(folder));
      const adapter = await createAdapter(model, lora, { r: 2, loraDropout: 0.5, initLoraWeights: false });
      return Trainer.create(model, { optimizer: adamW(), adapter, seed: 3 } satisfies TrainerOptions);
    },
  };
  it.each(Object.entries(options))('loses nothing of what was there before: %s', async (_, create) => {
    const broken = lossOf('broken', ({ logProbs }) => logProbs.neg().sum().mul(1e38).mul(1e38));
    const run = async (interrupted: boolean) => {
      const trainer = await create();
      await trainer.forwardBackward(rows.slice(0, 1), negativeLogLikelihood);
      await trainer.optimStep({ learningRate: 0.01 });
      await trainer.forwardBackward(rows.slice(0, 2), negativeLogLikelihood);
      if (interrupted) {
        const before = await contents(trainer);
        await failure(trainer.forwardBackward(rows, broken));
        expect(await contents(trainer)).toEqual(before);
      }
      await trainer.forwardBackward(rows.slice(2), negativeLogLikelihood);
      await trainer.optimStep({ learningRate: 0.01 });
      return contents(trainer);
    };
    expect(await run(true)).toEqual(await run(false));
  });
});

describe('a gradient that is not finite', () => {
  it('stops the update, is traced, and the run goes on', async () => {
    const trainer = await Trainer.create(modelOf(await loadWeights(folder)), { optimizer: adamW() });
    // √0 has an infinite slope: the loss is fine and its gradient is not.
    const steep = lossOf('steep', ({ logProbs }) => logProbs.mul(0).abs().sqrt().sum());
    const before = await contents(trainer);
    await trainer.forwardBackward(rows.slice(0, 1), negativeLogLikelihood);
    expect((await trainer.forwardBackward(rows, steep)).loss).toBe(0);
    const { found, message } = await failure(trainer.optimStep({ learningRate: 0.01 }));
    expect(found!.name).toBe('gradient of loss steep');
    expect(message).toMatch(/the gradient norm is NaN/);
    expect(await contents(trainer)).toEqual(before);

    const fresh = await Trainer.create(modelOf(await loadWeights(folder)), { optimizer: adamW() });
    for (const one of [trainer, fresh]) {
      await one.forwardBackward(rows, negativeLogLikelihood);
      await one.optimStep({ learningRate: 0.01 });
    }
    expect(await contents(trainer)).toEqual(await contents(fresh));
  });
});

describe('an adapter with a NaN', () => {
  it('is named by its parameter', async () => {
    const model = modelOf(await loadWeights(folder));
    const adapter = await createAdapter(model, lora, { r: 2 });
    const [name, first] = Object.entries(adapter.parameters)[0]!;
    const spoiled = {
      ...adapter,
      parameters: { ...adapter.parameters, [name]: tensor(new Float32Array(first.size).fill(Number.NaN), first.shape) },
    };
    const trainer = await Trainer.create(model, { optimizer: adamW(), adapter: spoiled });
    const { found } = await failure(trainer.forwardBackward(rows, negativeLogLikelihood));
    expect(found).toMatchObject({ op: 'argument', name: `parameters.${name}`, nan: first.size });
  });
});
