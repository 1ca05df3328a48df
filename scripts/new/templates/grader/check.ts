import { testGrader } from '@posttrain/eval/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  const ask = (completion: string, answer: string) => ({ prompt: 'q', completion, row: { answer } });
  testGrader(it, () => myMethod(), {
    cases: [
      { request: ask('The cat', 'the cat!'), score: 1 },
      { request: ask('a b c', 'c d'), score: 0.25 },
      { request: ask('a', 'b'), score: 0 },
      { request: ask('...', ''), score: null },
    ],
  });

  it('does not see which of the two is the completion', async () => {
    const verdicts = await myMethod().verify([ask('a b c', 'b'), ask('b', 'a b c')]);
    expect(verdicts[0]).toEqual(verdicts[1]);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
