import { testAdvantage } from '@posttrain/rl/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testAdvantage(it, () => myMethod(), { shiftInvariant: 'group' });

  it('does not see how much better the best one is', () => {
    const of = (rewards: readonly number[]) =>
      myMethod({ scale: 2 }).compute(
        rewards.map((reward) => ({ group: 0, promptTokens: [1], completionTokens: [2], oldLogProbs: [-1], reward })),
      );
    expect(of([0, 1, 5])).toEqual([-2, 0, 8]);
    expect(of([0, 1, 50]).slice(0, 2)).toEqual([-2, 0]);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
