import { Key } from '@posttrain/core-tensor';
import { testEnvironment } from '@posttrain/rl/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  const rows = [{ prompt: 'Guess my number.' }, { prompt: [{ role: 'user', content: 'And now?' }] }];
  testEnvironment(it, () => myMethod(), { rows });

  it('is won by halving, whatever the number', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const context = { sample: 0, step: 0, key: Key.fromSeed(seed) };
      const episode = await myMethod({ numbers: 15, maxGuesses: 4 }).start(rows[0]!, context);
      let [low, high, paid, done] = [0, 14, 0, false];
      while (!done) {
        const guess = (low + high) >> 1;
        const answer = await episode.step({ role: 'assistant', content: `${guess}` });
        if (answer.messages[0]?.content === 'higher') low = guess + 1;
        else high = guess - 1;
        [paid, done] = [answer.reward ?? 0, answer.done];
      }
      expect(paid).toBeGreaterThanOrEqual(1 / 4);
    }
  });
});
