import { compile, type Tensor, tensor, withEngine } from '@posttrain/core-tensor';
import { testEngine } from '@posttrain/core-tensor/testing';
import { describe, expect, it } from 'vitest';
import { myMethod } from './method.js';

describe('myMethod', () => {
  testEngine({ name: 'myMethod', create: () => myMethod(), runner: { describe, it } });

  it('runs a compiled graph once a call', async () => {
    const engine = myMethod();
    const double = withEngine(engine, () => compile((x: Tensor) => x.mul(2), { name: 'double' }));
    expect(await (await double(tensor([1, 2]))).toArray()).toEqual([2, 4]);
    const before = engine.runs;
    await double(tensor([3, 4]));
    expect(engine.runs).toBe(before + 1);
  });
});
