import { Key } from '@posttrain/core-tensor';
import { testRowSource } from '@posttrain/training/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  const rows = Array.from({ length: 5 }, (_, i) => ({ prompt: `${i}`, completion: 'x' }));
  testRowSource(it, () => myMethod(rows));
  testRowSource(it, () => myMethod(rows, { times: 1 }), { withoutRepeats: rows.length });

  it('gives each row as often as was asked for', async () => {
    const given = await myMethod(rows, { times: 3 }).next({ count: 15, step: 0, key: Key.fromSeed(0) });
    expect(rows.map((row) => given.filter((one) => one.row === row).length)).toEqual([3, 3, 3, 3, 3]);
  });
});
