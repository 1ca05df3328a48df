import { describe, expect, it } from 'vitest';
import { compile, referenceEngine, setEngine, type Tensor, tensor } from '../../index.js';
import { onEngine } from '../../testing/on-engine.js';
import { onnxruntimeEngine } from './engine.js';

setEngine(onnxruntimeEngine());

const wave = (shape: readonly number[], seed: number): Tensor => {
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(
    Array.from({ length: size }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed)),
    shape,
  );
};

type Case = readonly [name: string, shapes: readonly (readonly number[])[], f: (...inputs: Tensor[]) => Tensor];

const cases: readonly Case[] = [
  [
    'product on the right',
    [
      [5, 7],
      [5, 3],
      [3, 7],
    ],
    (c, a, b) => c.add(a.matmul(b)),
  ],
  [
    'product on the left',
    [
      [5, 7],
      [5, 3],
      [3, 7],
    ],
    (c, a, b) => a.matmul(b).add(c),
  ],
  [
    'transposed operands',
    [
      [5, 7],
      [3, 5],
      [7, 3],
    ],
    (c, a, b) => c.add(a.matmul(b, { transposeA: true, transposeB: true })),
  ],
  [
    'scaled product',
    [
      [5, 7],
      [5, 3],
      [3, 7],
    ],
    (c, a, b) => c.add(a.matmul(b).mul(0.5)),
  ],
  [
    'rows in two axes',
    [
      [2, 5, 7],
      [2, 5, 3],
      [7, 3],
    ],
    (c, a, b) => c.add(a.matmul(b, { transposeB: true })),
  ],
  [
    'a weight gradient',
    [
      [3, 7],
      [2, 5, 3],
      [2, 5, 7],
    ],
    (c, a, b) => c.add(a.matmul(b, { transposeA: true }).sum(0)),
  ],
  [
    'two products',
    [
      [5, 3],
      [3, 7],
    ],
    (a, b) => a.matmul(b).add(a.add(1).matmul(b)),
  ],
  [
    'a chain of products',
    [
      [5, 7],
      [5, 3],
      [3, 7],
    ],
    (c, a, b) => c.add(a.matmul(b)).add(a.sub(1).matmul(b)),
  ],
  [
    'a product used twice',
    [
      [5, 7],
      [5, 3],
      [3, 7],
    ],
    (c, a, b) => c.add(a.matmul(b)).mul(a.matmul(b)),
  ],
  ['an addend that broadcasts', [[7], [5, 3], [3, 7]], (c, a, b) => c.add(a.matmul(b))],
  [
    'a product that broadcasts',
    [
      [2, 5, 7],
      [5, 3],
      [3, 7],
    ],
    (c, a, b) => c.add(a.matmul(b)),
  ],
  [
    'a product added to itself',
    [
      [5, 3],
      [3, 7],
    ],
    (a, b) => a.matmul(b).add(a.matmul(b)),
  ],
];

describe('accumulating products', () => {
  it.each(cases)('%s', async (_, shapes, f) => {
    const inputs = shapes.map((shape, i) => wave(shape, i));
    const wanted = await onEngine(referenceEngine(), () => f(...inputs).toArray());
    const got = await f(...inputs).toArray();
    got.forEach((x, i) => {
      expect(Math.abs(x - wanted[i]!)).toBeLessThan(1e-5);
    });
  });

  it('in place, over several steps', async () => {
    const [a, b] = [wave([2, 5, 3], 1), wave([2, 5, 7], 2)];
    const step = compile(
      (sum: Tensor, x: Tensor, y: Tensor) => ({ sum: sum.add(x.matmul(y, { transposeA: true }).sum(0)) }),
      { donate: { 0: 'sum' } },
    );
    const once = await a.matmul(b, { transposeA: true }).sum(0).toArray();
    let sum = wave([3, 7], 3);
    const start = await sum.toArray();
    for (let i = 0; i < 4; i++) sum = (await step(sum, a, b)).sum;
    const got = await sum.toArray();
    got.forEach((x, i) => {
      expect(Math.abs(x - (start[i]! + 4 * once[i]!))).toBeLessThan(1e-5);
    });
  });
});
