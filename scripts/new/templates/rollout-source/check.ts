import { Key } from '@posttrain/core-tensor';
import { NO_ADAPTER } from '@posttrain/lm';
import { testRolloutSource, tinyPolicy } from '@posttrain/rl/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testRolloutSource(it, () => myMethod());

  it('has more different texts than as many draws have', async () => {
    const model = await tinyPolicy();
    const textsOf = async (factor: number) => {
      const rollouts = await myMethod({ factor }).sample({
        ...{ model, adapter: NO_ADAPTER, sampling: { maxTokens: 1 }, maxBatch: 64, packWeights: 'at-once', step: 0 },
        ...{ key: Key.fromSeed(1), rows: [{ prompt: 'ab' }], prompts: [model.tokenizer.encode('ab')] },
        ...{ completionsPerPrompt: 6, firstGroup: 0 },
      });
      return new Set(rollouts.map(({ text }) => text)).size;
    };
    expect(await textsOf(8)).toBeGreaterThan(await textsOf(1));
  });
});
