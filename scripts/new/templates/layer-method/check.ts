import { ones, tensor } from '@posttrain/core-tensor';
import type { LinearLayer } from '@posttrain/lm';
import { testPeftMethod } from '@posttrain/peft/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testPeftMethod(it, myMethod);

  it('scales each output by itself', async () => {
    const layer = { apply: (x) => x.matmul(ones([2, 3])) } as LinearLayer;
    const parameters = { my_method_l: tensor([1, 2, -1]) };
    expect(await myMethod.apply(tensor([[3, 4]]), layer, parameters, {} as never).toArray()).toEqual([7, 14, -7]);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
