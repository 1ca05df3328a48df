import { testPolicyPart } from '@posttrain/rl/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testPolicyPart(it, 'aggregation', () => myMethod());

  it('is the mean of means with power 1', () => {
    const lengths = [1, 4];
    const weights = myMethod({ power: 1 }).weights(lengths, { maxCompletionLength: 8 });
    expect(weights.map((weight, i) => weight * lengths[i]!)).toEqual([0.5, 0.5]);
    expect(myMethod({ power: 0 }).weights(lengths, { maxCompletionLength: 8 })).toEqual([0.5, 0.5]);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
