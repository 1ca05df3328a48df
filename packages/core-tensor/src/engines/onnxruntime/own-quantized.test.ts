import { beforeAll, describe, expect, it } from 'vitest';
import { compile, referenceEngine, setEngine, type Tensor, tensor, tokenLogProbs, vjp } from '../../index.js';
import {
  dequantized,
  type QuantizedWeight,
  quantizedMatmul,
  quantizedTensors,
  quantizeInt4,
  quantizeInt8,
  quantizeNf4,
} from '../../quantization/index.js';
import { onEngine } from '../../testing/on-engine.js';
import { onnxruntimeEngine } from './engine.js';
import { type Arithmetic, type FoundKernels, loadKernels } from './native/kernels.js';

setEngine(onnxruntimeEngine());

const numbers = (size: number, seed: number) =>
  Float32Array.from({ length: size }, (_, i) => Math.sin(seed + i * i * 0.37) * (i % 11 === 0 ? 5 : 1));
const rowsOf = (rows: number, width: number, seed: number) => tensor(numbers(rows * width, seed), [rows, width]);
const largest = (values: ArrayLike<number>) => Math.max(1e-30, ...Array.from(values, Math.abs));
const difference = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.max(...Array.from(a, (x, i) => (Object.is(x, b[i]) ? 0 : Math.abs(x - b[i]!)))) / largest(b);

/** Rows and shapes: whole blocks, part of one, words and bytes that are two rows', one row, one column; few rows and panels of them. */
const SIZES = [
  [1, 64, 576],
  [2, 33, 96],
  [7, 70, 200],
  [70, 64, 576],
  [19, 9, 1300],
  [1, 5, 75],
  [12, 5, 75],
  [3, 3, 33],
  [1, 1, 64],
  [20, 40, 1],
] as const;

const FORMATS: Readonly<Record<string, (weight: { shape: readonly number[]; data: Float32Array }) => QuantizedWeight>> =
  {
    'int4 with zero points': (w) => quantizeInt4(w),
    'int4, symmetric, blocks of 16': (w) => quantizeInt4(w, { symmetric: true, blockSize: 16 }),
    'int4, blocks of 256': (w) => quantizeInt4(w, { blockSize: 256 }),
    'int4 of rounded inputs': (w) => quantizeInt4(w, { activations: 'int8' }),
    'int4 of rounded inputs, symmetric, blocks of 64': (w) =>
      quantizeInt4(w, { activations: 'int8', symmetric: true, blockSize: 64 }),
    'int4 with zeros that are no codes': (w) => {
      const { method, activations, blockSize, parts } = quantizeInt4(w);
      const data = Float32Array.from(parts.scales.data, (_, i) => 7 + Math.sin(i));
      const zeroPoints = { dtype: 'float32', shape: parts.scales.shape, data } as const;
      return { method, activations, blockSize, shape: w.shape, symmetric: false, parts: { ...parts, zeroPoints } };
    },
    nf4: (w) => quantizeNf4(w),
    'fp4, blocks of 32': (w) => quantizeNf4(w, { levels: 'fp4', blockSize: 32, doubleQuantization: false }),
    int8: (w) => quantizeInt8(w, { threshold: 0 }),
    'int8 with outliers': (w) => quantizeInt8(w, { threshold: 4 }),
  };

const weights = Object.entries(FORMATS).map(([name, make]) => ({
  name,
  weights: SIZES.map(([, out, width]) =>
    quantizedTensors(make({ shape: [out, width], data: numbers(out * width, 1) })),
  ),
}));

/** x Wᵀ, the gradient dy W and W of all sizes. */
async function all(stored: readonly QuantizedWeight<Tensor>[]): Promise<Float32Array[]> {
  const inputs = SIZES.map(([rows, out, width]) => ({ x: rowsOf(rows, width, rows), dy: rowsOf(rows, out, 7) }));
  const compute = compile((given: typeof inputs, ws: typeof stored) =>
    given.flatMap(({ x, dy }, i) => {
      const { output, pullback } = vjp((t: Tensor) => quantizedMatmul(t, ws[i]!), x);
      return [output, pullback(dy)[0], dequantized(ws[i]!)];
    }),
  );
  const results = await compute(inputs, stored);
  const values = await Promise.all(results.map(async (y) => (await y.data()) as Float32Array));
  await compute.dispose();
  return values;
}

let found: FoundKernels;
const wanted = new Map<string, Float32Array[]>();
beforeAll(async () => {
  found = await loadKernels();
  if ('missing' in found) return;
  const others = onnxruntimeEngine({ cpuKernels: 'off' });
  for (const { name, weights: of } of weights) wanted.set(name, await onEngine(others, () => all(of)));
});

function ours(skip: (note: string) => never, arithmetic?: Arithmetic, ops: string[] = []) {
  if ('missing' in found) return skip(`no kernels: ${found.missing}`);
  const cpuKernels = arithmetic ?? found.fastest.float32;
  if (!found.has.has(cpuKernels)) return skip(`this processor has no ${cpuKernels}`);
  return onnxruntimeEngine({ cpuKernels, onAssignment: (nodes) => ops.push(...nodes.map(({ op }) => op)) });
}

describe.each(['plain', 'avx2', 'avx512'] as const)('products with quantised weights in %s', (arithmetic) => {
  it.for(weights)(
    '$name: forward, gradient and weight are those of ONNX Runtime',
    async ({ name, weights: of }, { skip }) => {
      const got = await onEngine(ours(skip, arithmetic), () => all(of));
      for (const [i, values] of got.entries()) {
        const what = `${SIZES[Math.floor(i / 3)]}, ${['forward', 'gradient', 'weight'][i % 3]}`;
        // Products of bytes, and what codes stand for, are the same number for number.
        const isExact = i % 3 === 2 || (i % 3 === 0 && name === 'int8');
        expect(difference(values, wanted.get(name)![i]!), what).toBeLessThanOrEqual(isExact ? 0 : 2e-6);
      }
    },
  );
});

describe('what the kernel for quantised weights computes', () => {
  it('a row is the same number for number whatever rows are beside it, among few rows and among many', async ({
    skip,
  }) => {
    const engine = ours(skip);
    for (const options of [{}, { activations: 'int8' }] as const) {
      const weight = quantizedTensors(quantizeInt4({ shape: [40, 160], data: numbers(6400, 1) }, options));
      await onEngine(engine, async () => {
        const x = rowsOf(60, 160, 2);
        const product = async (start: number, end: number) =>
          [...(await quantizedMatmul(x.slice(0, start, end), weight).toArray())].slice(0, 40);
        expect(await product(3, 4)).toEqual(await product(3, 8));
        expect(await product(20, 40)).toEqual(await product(20, 60));
      });
    }
  });

  it('a product with what codes stand for rounds nothing, whatever products with the codes themselves do', async ({
    skip,
  }) => {
    const engine = ours(skip);
    for (const { name, weights: of } of weights) {
      const compute = async () => {
        const step = compile((x: Tensor, dy: Tensor, w: QuantizedWeight<Tensor>) => [
          x.matmul(dequantized(w), { transposeB: true }).mul(0.5),
          dy.matmul(dequantized(w)).add(1),
        ]);
        const results = await step(rowsOf(7, 200, 3), rowsOf(7, 70, 4), of[2]!);
        return Promise.all(results.map((y) => y.toArray()));
      };
      const [got, exact] = [await onEngine(engine, compute), await onEngine(referenceEngine(), compute)];
      for (const [i, values] of got.entries())
        expect(difference(values, exact[i]!), `${name}, ${i}`).toBeLessThan(2e-6);
    }
  });

  it('says that a number is none: of x, in every path', async ({ skip }) => {
    const engine = ours(skip);
    for (const { name, weights: of } of weights) {
      for (const rows of [1, 20]) {
        const x = numbers(rows * 576, 1);
        x[5] = Number.NaN;
        const y = await onEngine(engine, () => quantizedMatmul(tensor(x, [rows, 576]), of[0]!).toArray());
        const count = [...y].filter(Number.isNaN).length;
        expect([name, rows, count]).toEqual([name, rows, 64]);
      }
    }
  });

  it('log-probabilities over a quantised output layer come from its codes, chunk by chunk, without the layer as floats', async ({
    skip,
  }) => {
    const ops: string[] = [];
    const engine = ours(skip, undefined, ops);
    const [vocabulary, width, count] = [300, 64, 30];
    for (const symmetric of [true, false]) {
      const head = quantizedTensors(
        quantizeInt4({ shape: [vocabulary, width], data: numbers(vocabulary * width, 3) }, { symmetric }),
      );
      const targets = tensor(
        Int32Array.from({ length: count }, (_, i) => (i * 37) % vocabulary),
        [count],
        'int32',
      );
      const score = (hidden: Tensor, w: typeof head) =>
        tokenLogProbs(hidden, dequantized(w), targets, { chunkSize: 70, temperature: 0.7 });
      const compute = async () => {
        const step = compile((hidden: Tensor, w: typeof head) => {
          const { output, pullback } = vjp((h: Tensor) => score(h, w).logProbs, hidden);
          return [output, pullback(output)[0], score(hidden, w).entropies] as const;
        });
        const results = await step(rowsOf(count, width, 1), head);
        return Promise.all(results.map((y) => y.toArray()));
      };
      ops.length = 0;
      const got = await onEngine(engine, compute);
      // Five chunks, each multiplied by from the left, and for the gradient from the right; and the targets' rows.
      expect(ops.filter((op) => op === 'Quantized').length).toBeGreaterThanOrEqual(11);
      expect(ops).not.toContain('Expand');
      const exact = await onEngine(referenceEngine(), compute);
      for (const [i, values] of got.entries()) expect(difference(values, exact[i]!)).toBeLessThan(1e-5);
    }
  });

  it('without kernels, and with those that were not measured, the same graph has none of it', async () => {
    const ops: string[] = [];
    const engine = onnxruntimeEngine({
      cpuKernels: 'off',
      onAssignment: (nodes) => ops.push(...nodes.map(({ op }) => op)),
    });
    await onEngine(engine, () => all(weights[0]!.weights));
    expect(ops).not.toContain('Quantized');
  });
});
