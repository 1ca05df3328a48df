import type { AnnotatorContext, Rollout } from '@posttrain/rl';
import { testAnnotator } from '@posttrain/rl/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testAnnotator(it, () => myMethod());

  it('comes to the reward that stays', async () => {
    const annotator = myMethod({ decay: 0.5 });
    const rollout: Rollout = { group: 0, promptTokens: [1], completionTokens: [2], oldLogProbs: [-1], reward: 4 };
    const none = undefined as unknown as AnnotatorContext;
    const learn = async () => annotator.learn!([rollout], [0], none);
    expect(await learn()).toEqual({ baseline: 2 });
    expect(await learn()).toEqual({ baseline: 3 });
  });
});
