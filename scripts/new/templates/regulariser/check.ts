import { tensor } from '@posttrain/core-tensor';
import { testPolicyPart } from '@posttrain/rl/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testPolicyPart(it, 'regulariser', () => myMethod({ beta: 0.5 }));

  it('does not see which of the two policies is the reference', async () => {
    const of = async (own: number, reference: number) => {
      const [x, ones] = [tensor([[own]]), tensor([[1]])];
      const policy = { logProbs: x, oldLogProbs: x, entropies: ones, weights: ones, tokenMean: ones, ratio: ones };
      const inputs = { ...policy, temperature: 1, annotations: {}, pass: undefined };
      return myMethod({ beta: 2 })
        .compute({ ...inputs, referenceLogProbs: tensor([[reference]]) })
        .loss!.item();
    };
    expect(await of(-1, -2)).toBeCloseTo(await of(-2, -1), 6);
    expect(await of(-1, -2)).toBeCloseTo(2 * (Math.cosh(1) - 1), 5);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
