import { describe, expect, it } from 'vitest';
import { compile, referenceEngine, setEngine, type Tensor, tensor, vjp } from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import {
  dequantized,
  dequantizeInt4,
  type Int4Weight,
  int4Inputs,
  type QuantizeInt4Options,
  quantizedMatmul,
  quantizedTensors,
  quantizeInt4,
} from '../src/quantization/index.js';

const ENGINES = [
  ['onnxruntime', onnxruntimeEngine],
  ['reference', referenceEngine],
] as const;
const numbers = (size: number, seed: number) =>
  Float32Array.from({ length: size }, (_, i) => Math.sin(seed + i * i * 0.37) * (i % 11 === 0 ? 5 : 1));
const weightOf = (rows: number, columns: number, options: QuantizeInt4Options) =>
  quantizeInt4({ shape: [rows, columns], data: numbers(rows * columns, 1) }, options);

/** x · Wᵀ with each block of a row of x as whole multiples of its largest / 127, in double precision. */
function roundedProduct(x: Float32Array, rows: number, weight: ReturnType<typeof weightOf>): number[] {
  const { data } = dequantizeInt4(weight);
  const [out, width] = weight.shape as [number, number];
  const rounded = Array.from({ length: rows }, (_, row) => {
    const result = [...x.subarray(row * width, (row + 1) * width)];
    for (let start = 0; start < width; start += weight.blockSize) {
      const end = Math.min(start + weight.blockSize, width);
      const unit = Math.max(...result.slice(start, end).map(Math.abs)) / 127;
      for (let i = start; i < end; i++) result[i] = unit === 0 ? 0 : Math.round(result[i]! / unit) * unit;
    }
    return result;
  });
  return rounded.flatMap((row) =>
    Array.from({ length: out }, (_, o) => row.reduce((sum, value, i) => sum + value * data[o * width + i]!, 0)),
  );
}

const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.max(...Array.from(a, (value, i) => Math.abs(value - b[i]!)));

describe.each(ENGINES)('int4 with int8 activations on the %s engine', (_, make) => {
  it.each([
    { rows: 1, out: 33, width: 96, blockSize: 32, symmetric: true },
    { rows: 1, out: 33, width: 96, blockSize: 32, symmetric: false },
    { rows: 3, out: 20, width: 75, blockSize: 16, symmetric: false },
    { rows: 5, out: 20, width: 192, blockSize: 64, symmetric: true },
    { rows: 40, out: 17, width: 160, blockSize: 128, symmetric: false },
    { rows: 2, out: 17, width: 300, blockSize: 256, symmetric: true },
  ])(
    '$rows rows, [$out, $width] in blocks of $blockSize, symmetric $symmetric: rounds block by block, packed or not',
    async (one) => {
      setEngine(make());
      const { rows, out, width, ...options } = one;
      const weight = weightOf(out, width, { ...options, activations: 'int8' });
      const stored = quantizedTensors(weight);
      const x = numbers(rows * width, 3);
      // A block of zeros has no largest element.
      x.fill(0, 0, options.blockSize);
      const wanted = roundedProduct(x, rows, weight);
      const given = compile((input: Tensor, w: typeof stored) => quantizedMatmul(input, w));
      const packed = compile((input: Tensor) => quantizedMatmul(input, stored), { packCaptured: true });
      const scale = Math.max(...wanted.map(Math.abs));
      for (const y of [await given(tensor(x, [rows, width]), stored), await packed(tensor(x, [rows, width]))]) {
        expect(largestDifference((await y.data()) as Float32Array, wanted) / scale).toBeLessThan(2e-6);
      }
      await packed.dispose();
    },
  );

  it('changes nothing that 8 bits hold, and little of the rest', async () => {
    setEngine(make());
    const [exact, rounding] = (['float32', 'int8'] as const).map((activations) =>
      quantizedTensors(weightOf(24, 128, { activations })),
    );
    const onGrid = tensor(
      Float32Array.from({ length: 256 }, (_, i) => (i % 32 === 0 ? 127 : ((i * 37) % 255) - 127) / 64),
      [2, 128],
    );
    const product = async (x: Tensor, w: typeof exact) => (await quantizedMatmul(x, w!).data()) as Float32Array;
    const plain = await product(onGrid, exact);
    expect(largestDifference(await product(onGrid, rounding), plain)).toBeLessThan(1e-4);

    const any = tensor(numbers(256, 5), [2, 128]);
    const difference = largestDifference(await product(any, rounding), await product(any, exact));
    // Each element is off by half of largest / 127 at most.
    const { data } = dequantizeInt4(weightOf(24, 128, {}));
    const rowSums = Array.from({ length: 24 }, (_, o) =>
      data.subarray(o * 128, (o + 1) * 128).reduce((sum, w) => sum + Math.abs(w), 0),
    );
    expect(difference).toBeGreaterThan(1e-4);
    expect(difference).toBeLessThan((5 / 254) * Math.max(...rowSums));
  });

  it('can be had apart: rounded inputs, whose product with the unpacked weight is the same, and so is its gradient', async () => {
    setEngine(make());
    const weight = quantizedTensors(weightOf(24, 75, { blockSize: 16, activations: 'int8' })) as Int4Weight<Tensor>;
    const x = tensor(numbers(300, 5), [2, 2, 75]);
    const apart = (input: Tensor) =>
      int4Inputs(input, weight).matmul(dequantized(weight).expandDims(0), { transposeB: true });
    const [a, b] = [vjp(apart, x), vjp((input: Tensor) => quantizedMatmul(input, weight), x)];
    const dy = tensor(numbers(96, 7), [2, 2, 24]);
    const close = async (got: Tensor, wanted: Tensor) => {
      const [left, right] = [await got.toArray(), await wanted.toArray()];
      expect(largestDifference(left, right) / Math.max(...right.map(Math.abs))).toBeLessThan(2e-6);
    };
    await close(a.output, b.output);
    await close(a.pullback(dy)[0], b.pullback(dy)[0]);
    expect(await int4Inputs(x, weight).toArray()).not.toEqual(await x.toArray());
    expect(int4Inputs(x, { ...weight, activations: 'float32' })).toBe(x);
    expect(int4Inputs(x.cast('float16'), weight).dtype).toBe('float16');
  });

  it('has the gradient of the product that does not round', async () => {
    setEngine(make());
    const x = tensor(numbers(256, 5), [2, 128]);
    const gradient = (activations: 'float32' | 'int8') => {
      const weight = quantizedTensors(weightOf(24, 128, { activations }));
      const { output, pullback } = vjp((input: Tensor) => quantizedMatmul(input, weight), x);
      return pullback(tensor(numbers(48, 7), output.shape))[0].data();
    };
    expect(await gradient('int8')).toEqual(await gradient('float32'));
  });
});

it('refuses activations that it does not know', () => {
  const options = { activations: 'int4' } as unknown as QuantizeInt4Options;
  expect(() => weightOf(4, 32, options)).toThrow('activations is "int4"; it must be one of "float32", "int8"');
});
