import { type Tensor, tensor } from '@posttrain/core-tensor';
import type { PairLogProbs } from '@posttrain/rl';
import { testPreferenceLoss } from '@posttrain/rl/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testPreferenceLoss(it, myMethod());

  it('is 1 where the policy is the reference, and 0 from the margin on', async () => {
    const [zeros, chosen] = [tensor([0, 0, 0]), tensor([0, 1, 2.5])];
    const pairs = { chosen, rejected: zeros, referenceChosen: zeros, referenceRejected: zeros } as PairLogProbs;
    const losses = myMethod({ beta: 0.5 }).compute(pairs) as Tensor;
    expect(await losses.toArray()).toEqual([1, 0.25, 0]);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
