import { evaluate } from '@posttrain/eval';
import { testTaskKind } from '@posttrain/eval/testing';
import type { Scorer } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import { myMethod, myMethodKind, myMethodLikelihood } from './method.js';

describe('myMethod', () => {
  /** Gives every character of an answer the probability 1/2. */
  const halves: Scorer = {
    name: 'halves',
    score: async (requests) =>
      requests.map(({ continuation: { length } }) => ({
        ...{ logProb: length * Math.log(0.5), tokens: length, isGreedy: false },
      })),
  };
  const task = () =>
    myMethod<{ question: string; answer: string }>({
      name: 'answers',
      dataset: ['a', 'bb', 'ccc', 'd'].map((answer, i) => ({ question: `question ${i}`, answer })),
      prompt: ({ question }) => question,
      target: ({ answer }) => answer,
      metrics: [myMethodLikelihood()],
    });
  testTaskKind(it, myMethodKind, { task, model: () => halves });

  it('is the probability of a token where all have the same', async () => {
    const { metrics } = await evaluate(task(), halves);
    expect(metrics[0]!.value).toBeCloseTo(0.5, 12);
    expect(metrics[0]!.standardError).toBeCloseTo(0, 12);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
