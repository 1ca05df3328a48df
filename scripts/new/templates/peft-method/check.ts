import { scalar, tensor } from '@posttrain/core-tensor';
import type { NormLayer } from '@posttrain/lm';
import { testPeftMethod } from '@posttrain/peft/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testPeftMethod(it, myMethod);

  it('multiplies what the normalisation gives, where it has a gain', async () => {
    const trained = { 'a.my_method_gain': tensor([1, -2]) };
    const { norm } = myMethod.hooks({} as never, { trained, frozen: {} });
    const through = (name: string) =>
      norm!(tensor([[3, 4]]), { name, apply: (x) => x.add(scalar(1)) } as NormLayer).toArray();
    expect([await through('a'), await through('b')]).toEqual([
      [4, -10],
      [4, 5],
    ]);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
