import { join } from 'node:path';
import { loadWeights, type QuantizationOptions } from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import { describe, expect, it } from 'vitest';
import { negativeLogLikelihood, Trainer, type TrainingRow } from '../src/index.js';
import { modelOf } from './model.js';

const folder = join(import.meta.dirname, '../../../goldens/models/llama');
const rows: TrainingRow[] = [
  [3, 17, 44, 9, 12, 7],
  [9, 2, 61],
  [10, 4, 8, 15, 16, 23, 42, 7],
].map((tokens) => ({ tokens, weights: tokens.slice(1).map(() => 1 / 14) }));

const STEPS = 8;

const KINDS = ['lora', 'dora', 'nf4', 'int4 with its output layer', 'all'] as const;
const QUANTIZATIONS: { readonly [Kind in (typeof KINDS)[number]]?: QuantizationOptions } = {
  nf4: { method: 'nf4' },
  'int4 with its output layer': { method: 'int4', head: true, activations: 'int8' },
};

async function train(kind: (typeof KINDS)[number], fp16: boolean) {
  const loaded = modelOf(await loadWeights(folder));
  const quantization = QUANTIZATIONS[kind];
  const model = quantization ? await loaded.quantize(quantization) : loaded;
  const options = { r: 4, targetModules: 'all-linear' as const, useDora: kind === 'dora' };
  const adapter = kind === 'all' ? {} : { adapter: await createAdapter(model, lora, options, { seed: 1 }) };
  const trainer = await Trainer.create(model, { optimizer: 'adamw_torch', fp16, ...adapter });
  const losses: number[] = [];
  while (trainer.step < STEPS) {
    const { loss } = await trainer.forwardBackward(rows, negativeLogLikelihood);
    // A scale that is too large for the first gradients is halved until it fits.
    const { skipped } = await trainer.optimStep({ learningRate: 0.01 });
    if (!skipped) losses.push(loss);
  }
  return { losses, trainer, model };
}

describe.each(KINDS)('fp16, %s', (kind) => {
  it('trains as float32 does, to the precision of float16, from parameters in float32', async () => {
    const half = await train(kind, true);
    const single = await train(kind, false);
    expect(half.losses).toHaveLength(STEPS);
    half.losses.forEach((loss, i) => {
      expect(Math.abs(loss / single.losses[i]! - 1)).toBeLessThan(0.02);
    });
    expect(half.losses.at(-1)!).toBeLessThan(0.9 * half.losses[0]!);
    // It did compute in float16.
    expect(half.losses[0]).not.toBe(single.losses[0]);
    for (const parameter of Object.values(half.trainer.parameters)) expect(parameter.dtype).toBe('float32');
    expect(Object.keys(half.trainer.snapshot().tensors)).toContain('lossScale.scale');
    // The model itself is as it was.
    for (const [name, weight] of Object.entries(half.model.weights)) {
      expect(weight.dtype).toBe(single.model.weights[name]!.dtype);
    }
  });
});
