import { expect } from 'vitest';
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
