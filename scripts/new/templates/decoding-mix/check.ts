import type { LogitsFrom } from '@posttrain/lm';
import { testDecodingMix } from '@posttrain/lm/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testDecodingMix(it, 'myMethod', ({ others: [model] }) => myMethod({ other: { model } }));

  it('is the policy with alpha 0, and the other model with 1', () => {
    const [policy, theirs] = [Float32Array.of(0, 1, 2), Float32Array.of(4, 2, 0)];
    const mixed = (alpha: number) => [
      ...myMethod({ other: { model: {} } as LogitsFrom, alpha }).combine(policy, [theirs], []),
    ];
    expect([mixed(0), mixed(0.5), mixed(1)]).toEqual([[...policy], [2, 1.5, 1], [...theirs]]);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
