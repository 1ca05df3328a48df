import type { Generator, Verifier } from '@posttrain/interfaces';
import { testStrategy } from '@posttrain/tts/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testStrategy(it, 'myMethod', myMethod, (kit) => kit);

  it('takes the shortest of those that are good enough', async () => {
    const texts = ['a long answer', 'short', 'x', 'another'];
    const scores = [1, 0.95, 0.5, 0.95];
    const usage = { promptTokens: 1, completionTokens: 1 };
    const generator: Generator = {
      name: 'fixed',
      generate: async () => [texts.map((text) => ({ text, finishReason: 'stop', usage }))],
    };
    const verifier: Verifier = {
      name: 'fixed',
      verify: async (requests) => requests.map(({ completion }) => ({ score: scores[texts.indexOf(completion)]! })),
    };
    const chosen = async (tolerance: number) =>
      (await myMethod({ prompt: '?' }, { generator, verifier, n: 4, tolerance })).text;
    expect([await chosen(0), await chosen(0.1), await chosen(0.5)]).toEqual(['a long answer', 'short', 'x']);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
