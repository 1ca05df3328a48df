import { expect, it } from 'vitest';
import { MODEL_CONFIGS } from './cases.js';
import { stepFlops } from './flops.js';

const config = { ...MODEL_CONFIGS['135m'], vocab_size: 0 };
/** Entries of the weights of all linear layers: the 134,515,008 of the model without the embedding and 61 norms. */
const linear = 134_515_008 - 49_152 * 576 - 61 * 576;
const attention = (passes: number) => passes * 30 * 4 * 576;

it('agrees with the rule of 6 operations a weight and token for all weights, 2 of them forward', () => {
  expect(stepFlops(config, { rows: 3, tokens: 1 })).toBe(3 * (6 * linear + attention(3)));
});

it('adds the head for predictions only', () => {
  const head = (rank?: number) =>
    stepFlops(MODEL_CONFIGS['135m'], { rows: 4, tokens: 256, rank }) -
    stepFlops(config, { rows: 4, tokens: 256, rank });
  expect(head()).toBe(6 * 4 * 255 * 49_152 * 576);
  expect(head(16)).toBe(4 * 4 * 255 * 49_152 * 576);
});

it('saves the gradients of the base, and of the input of the first q, k and v, with LoRA', () => {
  const without = stepFlops(config, { rows: 1, tokens: 1, rank: 0 });
  expect(without).toBe(4 * linear - 2 * 576 * (576 + 192 + 192) + attention(3));
  // 4,884,480 adapter weights at r = 16; three of the A's need no gradient of their input.
  const adapter = 6 * 4_884_480 - 2 * 16 * 3 * 576;
  expect(stepFlops(config, { rows: 1, tokens: 1, rank: 16 }) - without).toBe(adapter);
});

it('halves attention where it is causal: its work grows as tokens · (tokens + 1) / 2', () => {
  const pairs = (tokens: number) =>
    stepFlops(config, { rows: 1, tokens }) - tokens * (stepFlops(config, { rows: 1, tokens: 1 }) - attention(3));
  expect(pairs(256) / attention(3)).toBe((256 * 257) / 2);
});
