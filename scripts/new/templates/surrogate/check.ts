import { tensor } from '@posttrain/core-tensor';
import { testPolicyPart } from '@posttrain/rl/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testPolicyPart(it, 'surrogate', () => myMethod());

  it('is least where the ratio is epsilon away, on the side of the advantage', async () => {
    const of = async (ratio: number, advantage: number) => {
      const [zero, mask] = [tensor([[0]]), tensor([[1]])];
      const others = { logProbs: zero, oldLogProbs: zero, samplerLogProbs: undefined, mask };
      const inputs = { ...others, ratio: tensor([[ratio]]), advantages: tensor([[advantage]]) };
      return myMethod({ epsilon: 0.2 }).compute(inputs).loss.item();
    };
    for (const advantage of [2, -0.5]) {
      const best = 1 + 0.2 * Math.sign(advantage);
      for (const by of [-0.1, 0.1]) expect(await of(best, advantage)).toBeLessThan(await of(best + by, advantage));
    }
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
