import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { compile, grad, referenceEngine, setEngine, type Tensor, tensor } from '../../index.js';
import { onEngine } from '../../testing/on-engine.js';
import { onnxruntimeEngine } from './engine.js';
import { ARITHMETICS, type Arithmetic, loadKernels } from './native/kernels.js';
import { arithmeticOf, productKernels } from './own-products.js';

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

/** Of the largest entry, by what a factor keeps of its digits: float32, and bfloat16, half of whose last place is 2 ** -9. */
const TOLERANCES = { float32: 1e-6, bfloat16: 2 ** -8 } as const;
const roundsIn = (arithmetic: Arithmetic) => arithmetic === 'avx512bf16' || arithmetic === 'amx';

describe.each(ARITHMETICS)('kernels of our own: %s', (arithmetic) => {
  const precision = roundsIn(arithmetic) ? 'medium' : 'highest';
  const ours = async (skip: (reason: string) => void, onNodes?: (ops: string[]) => void) => {
    const found = await loadKernels();
    if ('missing' in found) skip(`no kernels: ${found.missing}`);
    else if (!found.has.has(arithmetic)) skip(`this processor has no ${arithmetic}`);
    return onnxruntimeEngine({
      cpuKernels: arithmetic,
      matmulPrecision: precision,
      onAssignment: (nodes) => onNodes?.(nodes.map(({ op }) => op)),
    });
  };
  const largest = (x: readonly number[]) => x.reduce((most, y) => Math.max(most, Math.abs(y)), 0);
  const expectNear = (got: readonly number[], wanted: readonly number[], tolerance: number) => {
    const error = largest(got.map((x, i) => x - wanted[i]!));
    expect(error / largest(wanted)).toBeLessThan(tolerance);
  };

  it('sums, scales and layouts are those of the reference engine', async ({ skip }) => {
    const ops = new Set<string>();
    const engine = await ours(skip, (nodes) => nodes.forEach((op) => void ops.add(op)));
    for (const [name, shapes, f] of cases) {
      const inputs = shapes.map((shape, i) => wave(shape, i));
      const wanted = await onEngine(referenceEngine(), () => f(...inputs).toArray());
      const got = await onEngine(engine, () => f(...inputs).toArray());
      expect(got.length, name).toBe(wanted.length);
      expectNear(got, wanted, roundsIn(arithmetic) ? 2 * TOLERANCES.bfloat16 : TOLERANCES.float32);
    }
    expect(ops).toContain('Product');
    expect([...ops].filter((op) => /MatMul|Gemm/.test(op))).toEqual([]);
  });

  // Not of the formula: numbers that every arithmetic holds, so that each result is exact, on both sides of every edge of a tile.
  it('whole numbers are multiplied exactly, in all layouts and around the edges of tiles', async ({ skip }) => {
    const engine = await ours(skip);
    const whole = (size: number, factor: number) => Array.from({ length: size }, (_, i) => ((i * factor) % 15) - 7);
    const transposed = (x: readonly number[], rows: number, columns: number) =>
      Array.from({ length: x.length }, (_, i) => x[(i % rows) * columns + Math.floor(i / rows)]!);
    const sizes = [
      [1, 1, 1],
      [33, 15, 17],
      [14, 32, 16],
      [45, 70, 33],
      [2, 65, 1030],
      [113, 390, 40],
    ] as const;
    for (const [m, n, k] of sizes) {
      const [a, b] = [whole(m * k, 7), whole(k * n, 11)];
      const wanted = Array.from({ length: m * n }, (_, i) => {
        const [row, column] = [Math.floor(i / n), i % n];
        let sum = 0;
        for (let j = 0; j < k; j++) sum += a[row * k + j]! * b[j * n + column]!;
        return sum;
      });
      const lefts = [tensor(a, [m, k]), tensor(transposed(a, m, k), [k, m])];
      const rights = [tensor(b, [k, n]), tensor(transposed(b, k, n), [n, k])];
      await onEngine(engine, async () => {
        for (const [transposeA, left] of lefts.entries()) {
          for (const [transposeB, right] of rights.entries()) {
            const flags = { transposeA: transposeA === 1, transposeB: transposeB === 1 };
            // Other numbers every time: memory that is used again must not be right by what it was.
            const factor = 1 + transposeA + 2 * transposeB;
            const got = await left.mul(factor).matmul(right, flags).toArray();
            expect(
              got.findIndex((x, i) => x !== factor * wanted[i]!),
              `${m} x ${n} x ${k} ${JSON.stringify(flags)}`,
            ).toBe(-1);
          }
        }
      });
    }
  });

  it('a row is the same number for number whatever rows and columns are beside it', async ({ skip }) => {
    const engine = await ours(skip);
    const [a, b] = [wave([40, 150], 1), wave([150, 70], 2)];
    await onEngine(engine, async () => {
      const all = await a.matmul(b).toArray();
      const row = await a.slice(0, 17, 18).matmul(b).toArray();
      expect(row).toEqual(all.slice(17 * 70, 18 * 70));
    });
  });

  it('gradients are those of the reference engine within the precision', async ({ skip }) => {
    const engine = await ours(skip);
    const [x, w, v] = [wave([3, 20, 24], 1), wave([40, 24], 2), wave([40, 16], 3)];
    const gradients = (values: { x: Tensor; w: Tensor; v: Tensor }) =>
      grad((all: { x: Tensor; w: Tensor; v: Tensor }) =>
        all.x.matmul(all.w, { transposeB: true }).tanh().matmul(all.v).square().sum(),
      )(values);
    const compute = async () => {
      const result = (await compile(gradients)({ x, w, v })) as { x: Tensor; w: Tensor; v: Tensor };
      return [await result.x.toArray(), await result.w.toArray(), await result.v.toArray()];
    };
    const wanted = await onEngine(referenceEngine(), compute);
    const got = await onEngine(engine, compute);
    // Three products follow one another.
    const tolerance = roundsIn(arithmetic) ? 4 * TOLERANCES.bfloat16 : 4 * TOLERANCES.float32;
    for (const [i, numbers] of got.entries()) expectNear(numbers, wanted[i]!, tolerance);
  });
});

describe('which arithmetic computes a product', () => {
  it('has every arithmetic that the processor says it has: none is gone because it was wrong', async ({ skip }) => {
    const found = await loadKernels();
    if ('missing' in found) return skip(`no kernels: ${found.missing}`);
    expect(found.has).toContain('plain');
    if (process.platform !== 'linux' || process.arch !== 'x64') return;
    const flags = new Set(/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' '));
    const wanted = { avx2: 'avx2', avx512: 'avx512bw', avx512bf16: 'avx512_bf16', amx: 'amx_bf16' } as const;
    for (const [name, flag] of Object.entries(wanted))
      expect([name, found.has.has(name as Arithmetic)]).toEqual([name, flags.has(flag)]);
  });

  const kernels = (float32: Arithmetic, bfloat16: Arithmetic) => {
    const isFaster = float32 === 'avx512';
    return {
      fastest: { float32, bfloat16 },
      isFaster: { products: isFaster, codes: isFaster, bytes: isFaster, attention: isFaster },
    };
  };
  const size = { rows: 1024, summed: 576, columns: 1536, transA: false, hasMatrix: true };

  it.each([
    ['highest takes what was measured, from some size on', 'avx512', 'amx', 'highest', size, 'avx512'],
    ['high is highest', 'avx512', 'amx', 'high', size, 'avx512'],
    ['few columns are left to ONNX Runtime', 'avx512', 'amx', 'highest', { ...size, columns: 16 }, undefined],
    ['not where there are many rows', 'avx512', 'amx', 'highest', { ...size, rows: 6144, columns: 320 }, 'avx512'],
    ['what was not measured is', 'avx2', 'avx2', 'highest', size, undefined],
    ['medium rounds weights', 'avx512', 'amx', 'medium', size, 'amx'],
    ['of every number of rows', 'avx512', 'amx', 'medium', { ...size, rows: 1 }, 'amx'],
    ['but not attention', 'avx512', 'amx', 'medium', { ...size, hasMatrix: false, rows: 64 }, undefined],
    ['medium is float32 where bfloat16 is no faster', 'avx512', 'avx512', 'medium', { ...size, rows: 1 }, undefined],
  ] as const)('%s', (_, float32, bfloat16, precision, asked, wanted) => {
    const position = arithmeticOf(productKernels(kernels(float32, bfloat16), precision), asked);
    expect(position === undefined ? undefined : ARITHMETICS[position]).toBe(wanted);
  });

  it('off, and an arithmetic that is not there, are said', async () => {
    const ops: string[] = [];
    const off = onnxruntimeEngine({
      cpuKernels: 'off',
      onAssignment: (nodes) => ops.push(...nodes.map(({ op }) => op)),
    });
    await onEngine(off, () =>
      wave([600, 600], 1)
        .matmul(wave([600, 600], 2))
        .toArray(),
    );
    expect(ops).not.toContain('Product');
    const found = await loadKernels();
    const absent = 'missing' in found ? 'plain' : ARITHMETICS.find((name) => !found.has.has(name));
    if (absent === undefined) return;
    await expect(onnxruntimeEngine({ cpuKernels: absent }).start()).rejects.toThrow(new RegExp(`cpuKernels ${absent}`));
  });
});
