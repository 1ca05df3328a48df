import { tensor } from '@posttrain/core-tensor';
import { testPenalty } from '@posttrain/training/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testPenalty(it, 'myMethod', (anchors) => myMethod({ anchors, lambda: 3 }), { zeroAtAnchor: true });

  it('is half of lambda one step away', async () => {
    const { compute, tensors = {} } = myMethod({ anchors: { w: tensor([1, 2]) }, lambda: 3 });
    expect(await compute({ w: tensor([1, 3]) }, tensors).item()).toBeCloseTo(1.5, 6);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
