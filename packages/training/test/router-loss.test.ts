import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { referenceEngine, setEngine } from '@posttrain/core-tensor';
import { openSafetensors } from '@posttrain/core-tensor/io';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adamW, sgd } from '@posttrain/core-tensor/optim';
import { onEngine } from '@posttrain/core-tensor/testing';
import { type CausalLM, type ExpertsConfig, loadWeights } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Loss,
  negativeLogLikelihood,
  predictions,
  Trainer,
  type TrainerOptions,
  type TrainingRow,
  weightedSum,
  withEmbeddings,
} from '../src/index.js';
import { modelOf, threeRows } from './model.js';

const MIXTURES = ['mixtral', 'qwen3-moe', 'qwen3-moe-sparse-step'];
const folderOf = (name: string) => join(import.meta.dirname, '../../../goldens/mixture-of-experts', name);

beforeAll(() => setEngine(referenceEngine()));

/** A mixture whose config has what is given beside `output_router_logits`. */
async function mixture(name: string, changes: Partial<ExpertsConfig> = {}): Promise<CausalLM> {
  const { config, weights } = await loadWeights(folderOf(name));
  if (!('experts' in config) || !config.experts) throw new Error('the golden has experts');
  expect(config.experts.outputRouterLogits).toBe(false);
  return modelOf({
    config: { ...config, experts: { ...config.experts, outputRouterLogits: true, ...changes } },
    weights,
  });
}

const trainerOf = (model: CausalLM, options: Partial<TrainerOptions> = {}) =>
  Trainer.create(model, { optimizer: sgd(), maxGradNorm: 0, ...options });

describe.each(MIXTURES)('the loss of the routers of %s', (name) => {
  it('is in no gradient of a row: refused, or left out', async () => {
    const [routed, plain] = [
      await trainerOf(await mixture(name)),
      await trainerOf(await mixture(name, { outputRouterLogits: false })),
    ];
    const none = { name: 'none', reduce: (state: object) => ({ state }) };
    const normsOf = async (trainer: Trainer, rowsOnly: boolean) =>
      (await trainer.reduceGradients(threeRows, negativeLogLikelihood, none, { state: {}, rowsOnly })).norms;
    await expect(normsOf(routed, false)).rejects.toThrow(/output_router_logits\) belongs to no row/);
    expect(await normsOf(routed, true)).toEqual(await normsOf(plain, false));
  });

  it('is that of the pass itself, whatever other passes a loss asks for', async () => {
    const moved = withEmbeddings(predictions(), (x) => x.add(0.05));
    const twice: Loss = {
      name: 'twice',
      annotations: [],
      computeFrom(read, { weights }) {
        const [clean, other] = [predictions(), moved].map((of) => weightedSum(read(of).logProbs.neg(), weights));
        return { loss: clean!.add(other!), metrics: { other: other! } };
      },
    };
    const model = await mixture(name);
    const plain = await (await trainerOf(model)).forwardBackward(threeRows, negativeLogLikelihood);
    const both = await (await trainerOf(model)).forwardBackward(threeRows, twice);
    expect(both.metrics.aux_loss).toBe(plain.metrics.aux_loss);
    expect(both.loss - both.metrics.other!).toBeCloseTo(plain.loss, 6);
    expect(both.metrics.other).not.toBeCloseTo(plain.loss, 3);
  });

  it('is added as in transformers: value and gradients', async () => {
    const model = await mixture(name);
    const expected = JSON.parse(await readFile(join(folderOf(name), 'expected.json'), 'utf8'));
    const file = await openSafetensors(join(folderOf(name), 'expected.safetensors'));
    const numbers = async (tensor: string) => Array.from((await file.read(tensor)).data as ArrayLike<number>);
    try {
      const [ids, labels] = [await numbers('batch.input_ids'), await numbers('batch.labels')];
      const [count, width] = file.tensors.get('batch.input_ids')!.shape as [number, number];
      const trained = labels.filter((label, i) => i % width > 0 && label !== -100).length;
      const rows = Array.from({ length: count }, (_, row): TrainingRow => {
        const at = (values: readonly number[]) => values.slice(row * width, (row + 1) * width);
        const weights = at(labels)
          .slice(1)
          .map((label) => (label === -100 ? 0 : 1 / trained));
        return { tokens: at(ids), weights };
      });
      const trainer = await trainerOf(model);
      const evaluated = await trainer.evaluate(rows, negativeLogLikelihood);
      const { loss, metrics } = await trainer.forwardBackward(rows, negativeLogLikelihood);
      expect(loss).toBeCloseTo(expected['router.loss'], 5);
      // An evaluation is of the rows alone.
      expect(evaluated.metrics.aux_loss).toBeUndefined();
      const factor = 'experts' in model.config ? model.config.experts!.auxiliaryLossCoefficient : 0;
      expect(factor).toBeGreaterThan(0);
      expect(loss - evaluated.loss).toBeCloseTo(metrics.aux_loss! * factor, 5);
      expect(metrics.aux_loss).toBeCloseTo(expected['router.aux_loss'], 5);
      // One step of gradient descent with rate 1 takes the gradient off.
      await trainer.optimStep({ learningRate: 1 });
      const gradients = [...file.tensors.keys()].filter((key) => key.startsWith('routed_gradient.'));
      expect(gradients).toHaveLength(7);
      for (const key of gradients) {
        const parameter = key.slice('routed_gradient.'.length);
        const [before, after] = [
          await model.weights[parameter]!.toArray(),
          await trainer.parameters[parameter]!.toArray(),
        ];
        const wanted = await numbers(key);
        wanted.forEach((gradient, i) => {
          expect(Math.abs(before[i]! - after[i]! - gradient)).toBeLessThan(1e-5);
        });
      }
    } finally {
      await file.close();
    }
  });
});

it.each([undefined, { r: 2, targetModules: ['q_proj', 'v_proj'] }])(
  'does not depend on how rows are split over passes (adapter %j)',
  async (config) => {
    const model = await mixture('qwen3-moe', { auxiliaryLossCoefficient: 1 });
    const updated = async (maxTokensPerPass: number) => {
      const adapter = config && (await createAdapter(model, lora, config));
      const trainer = await trainerOf(model, { maxTokensPerPass, ...(adapter && { adapter }) });
      const { loss, metrics } = await trainer.forwardBackward(threeRows, negativeLogLikelihood);
      await trainer.optimStep({ learningRate: 0.5 });
      const values = await Promise.all(Object.values(trainer.parameters).map((x) => x.toArray()));
      return [loss, metrics.aux_loss!, ...values.flat()];
    };
    const whole = await updated(4096);
    const parts = await updated(16);
    whole.forEach((value, i) => {
      expect(Math.abs(value - parts[i]!)).toBeLessThan(1e-9);
    });
  },
);

it('is the same on ONNX Runtime, in one pass and in several', async () => {
  const lossOf = async (maxTokensPerPass: number) => {
    const model = await mixture('mixtral', { auxiliaryLossCoefficient: 1 });
    return (await (await trainerOf(model, { maxTokensPerPass })).forwardBackward(threeRows, negativeLogLikelihood))
      .loss;
  };
  const expected = await lossOf(4096);
  await onEngine(onnxruntimeEngine(), async () => {
    for (const tokens of [4096, 16]) expect(await lossOf(tokens)).toBeCloseTo(expected, 5);
  });
});

it('evens the loads out', async () => {
  const model = await mixture('mixtral', { auxiliaryLossCoefficient: 10 });
  const trainer = await trainerOf(model, { optimizer: adamW() });
  const seen: number[] = [];
  for (let step = 0; step < 12; step++) {
    seen.push((await trainer.forwardBackward(threeRows, negativeLogLikelihood)).metrics.aux_loss!);
    await trainer.optimStep({ learningRate: 0.02 });
  }
  // Two experts a token: even loads are 2.
  expect(seen[0]! - 2).toBeGreaterThan(3 * (seen.at(-1)! - 2));
});

it('is left out where the config does not ask for it, and refused with gradient checkpointing', async () => {
  const without = await trainerOf(await mixture('mixtral', { outputRouterLogits: false }));
  const { loss, metrics } = await without.forwardBackward(threeRows, negativeLogLikelihood);
  expect(metrics).not.toHaveProperty('aux_loss');
  const model = await mixture('mixtral', { auxiliaryLossCoefficient: 0.5 });
  const balanced = await (await trainerOf(model)).forwardBackward(threeRows, negativeLogLikelihood);
  expect(balanced.loss).toBeCloseTo(loss + 0.5 * balanced.metrics.aux_loss!, 10);
  await expect(trainerOf(model, { gradientCheckpointing: true })).rejects.toThrow(
    /output_router_logits.*turn one of them off/,
  );
});
