import { tensor } from '@posttrain/core-tensor';
import { testPolicyPart } from '@posttrain/rl/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testPolicyPart(it, 'ratio', () => myMethod());

  it('is the root of the ratio with alpha a half', async () => {
    const logRatio = tensor([[Math.log(4), Math.log(0.25)]]);
    const found = await myMethod({ alpha: 0.5 })
      .compute(logRatio, tensor([[1, 1]]))
      .toArray();
    expect(found[0]).toBeCloseTo(2, 5);
    expect(found[1]).toBeCloseTo(0.5, 5);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
