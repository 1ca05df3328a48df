import { tensor } from '@posttrain/core-tensor';
import { testOp } from '@posttrain/core-tensor/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testOp(it, 'myMethod', (x) => myMethod(x!), { inputs: [[[2, 5]], [[0, 4]], [[1]]] });

  it('is the square with the sign of x', async () => {
    expect(await myMethod(tensor([-3, 0, 2])).toArray()).toEqual([-9, 0, 4]);
  });

  it.todo('is what the reference implementation has: goldens/my_method.py');
});
