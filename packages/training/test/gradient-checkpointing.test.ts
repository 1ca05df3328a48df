import { join } from 'node:path';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adamW, mapNamed } from '@posttrain/core-tensor/optim';
import { loadWeights } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { beforeAll, describe, expect, it } from 'vitest';
import { negativeLogLikelihood, Trainer } from '../src/index.js';
import { contents, modelOf, threeRows as rows } from './model.js';

const folder = join(import.meta.dirname, '../../../goldens/models/qwen3');

beforeAll(() => setEngine(onnxruntimeEngine({ threads: 1 })));

describe('gradientCheckpointing', () => {
  it.each(['qwen3', 'gpt2'])('gives the updates of %s bit for bit', async (name) => {
    const parts = await loadWeights(join(folder, '..', name));
    const updated = async (gradientCheckpointing: boolean) => {
      const trainer = await Trainer.create(modelOf(parts), { optimizer: adamW(), gradientCheckpointing });
      for (let i = 0; i < 2; i++) {
        await trainer.forwardBackward(rows, negativeLogLikelihood);
        await trainer.optimStep({ learningRate: 0.01 });
      }
      return contents(trainer);
    };
    const plain = await updated(false);
    expect(await updated(true)).toEqual(plain);
    const started = mapNamed(parts.weights, (w) => w);
    expect(Object.keys(plain).length).toBeGreaterThan(Object.keys(started).length);
  });
  it('gives the adapter’s updates too', async () => {
    const model = modelOf(await loadWeights(folder));
    const updated = async (gradientCheckpointing: boolean) => {
      const adapter = await createAdapter(model, lora, { r: 2, loraDropout: 0.3, useDora: true });
      const trainer = await Trainer.create(model, { optimizer: adamW(), adapter, gradientCheckpointing });
      for (let i = 0; i < 2; i++) {
        await trainer.forwardBackward(rows, negativeLogLikelihood);
        await trainer.optimStep({ learningRate: 0.01 });
      }
      return contents(trainer);
    };
    expect(await updated(true)).toEqual(await updated(false));
  });
  it.each(['nf4', 'int4', 'int8'] as const)('gives the adapter’s updates over a base in %s', async (method) => {
    const model = await modelOf(await loadWeights(join(folder, '../smollm2'))).quantize({ method });
    const updated = async (gradientCheckpointing: boolean) => {
      const adapter = await createAdapter(model, lora, { r: 2 });
      const trainer = await Trainer.create(model, { optimizer: adamW(), adapter, gradientCheckpointing });
      await trainer.forwardBackward(rows, negativeLogLikelihood);
      await trainer.optimStep({ learningRate: 0.01 });
      return contents(trainer);
    };
    expect(await updated(true)).toEqual(await updated(false));
  });
});
