import { CausalLM, parseModelConfig } from '@posttrain/lm';
import { expect } from 'vitest';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import type { TrainableModel, Trainer, TrainingRow } from '../src/index.js';

export { modelOf } from '../../peft/test/model.js';

/** Rows of three lengths, for vocabularies of 121 tokens or more; every predicted token weighs the same. */
export const threeRows: readonly TrainingRow[] = [
  [3, 17, 44, 9, 120, 7],
  [9, 2, 61],
  [100, 4, 8, 15, 16, 23, 42, 77],
].map((tokens) => ({ tokens, weights: tokens.slice(1).map(() => 1 / 14) }));

/** Every tensor of a trainer, as numbers. */
export async function contents(trainer: Trainer<TrainableModel>): Promise<Record<string, number[]>> {
  const { tensors } = trainer.snapshot();
  return Object.fromEntries(
    await Promise.all(Object.entries(tensors).map(async ([name, x]) => [name, await x.toArray()] as const)),
  );
}

/** Whether numbers are equal but for rounding. */
export function expectClose(actual: readonly number[], expected: readonly number[], tolerance = 2e-6): void {
  expect(actual.length).toBe(expected.length);
  actual.forEach((value, i) => {
    expect(Math.abs(value - expected[i]!), `${i}: ${value}, not ${expected[i]}`).toBeLessThanOrEqual(tolerance);
  });
}

/** Wide enough for moments in 8 bits, which start at 4096 elements. */
export async function wideModel(): Promise<CausalLM> {
  const { tokenizer } = await tinyModel('llama');
  return CausalLM.initialize(
    {
      config: parseModelConfig({
        model_type: 'llama',
        vocab_size: 80,
        hidden_size: 64,
        intermediate_size: 64,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        max_position_embeddings: 32,
        initializer_range: 0.1,
      }),
      tokenizer,
      name: 'wide',
    },
    0,
  );
}
