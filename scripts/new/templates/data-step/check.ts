import { pipeline } from '@posttrain/data';
import { testDataStep } from '@posttrain/data/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  const rows = ['', 'one', 'one two', ' one  two three '].map((text, id) => ({ id, text }));
  testDataStep(it, () => myMethod({ minWords: 2 }), { rows: [...rows, { id: 9, text: null }] });

  it('keeps fewer rows the more words it asks for', async () => {
    const kept = async (minWords: number) => (await pipeline(rows, [myMethod({ minWords })]).collect()).length;
    expect([await kept(0), await kept(1), await kept(2), await kept(3), await kept(4)]).toEqual([4, 3, 2, 1, 0]);
  });
});
