import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { float8Table } from '../src/float8.js';
import { type GraphNode, isOp } from '../src/graph/node.js';
import { simplify } from '../src/graph/simplify.js';
import { referenceEngine, type Tensor, tensor, valueAndGrad, vjp } from '../src/index.js';
import { openSafetensors, type TensorData } from '../src/io/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import {
  bitsPerWeight,
  dequantized,
  dequantizeInt4,
  dequantizeInt8,
  dequantizeNf4,
  type FloatMatrix,
  type FourBitWeight,
  fromBitsandbytesInt8,
  fromFp8,
  fromMxfp4,
  fromNvfp4,
  int8Matmul,
  type QuantizedWeight,
  quantizedMatmul,
  quantizedTensors,
  quantizeInt4,
  quantizeInt8,
  quantizeNf4,
  toBitsandbytesInt8,
} from '../src/quantization/index.js';
import { captureLeaves } from '../src/realize.js';
import { sizeOf } from '../src/shape.js';
import { onEngine } from '../src/testing/on-engine.js';

describe('integers', async () => {
  const goldens = join(import.meta.dirname, '../../../goldens/quantization');
  const int8 = await openSafetensors(join(goldens, 'int8.safetensors'));
  const int4 = await openSafetensors(join(goldens, 'int4.safetensors'));
  afterAll(() => Promise.all([int8.close(), int4.close()]));
  const { cases } = JSON.parse(readFileSync(join(goldens, 'int4.json'), 'utf8')) as {
    cases: { name: string; weight: string; block_size: number; symmetric: boolean }[];
  };

  const ENGINES = [
    ['onnxruntime', onnxruntimeEngine()],
    ['reference', referenceEngine()],
  ] as const;

  const matrix = (x: TensorData): FloatMatrix => ({ shape: x.shape, data: x.data as Float32Array });
  const toTensor = ({ data, shape, dtype }: TensorData): Tensor => tensor(data, shape, dtype);
  const largest = (values: ArrayLike<number>): number => Math.max(...Array.from(values, Math.abs));
  const error = async (a: Tensor, b: Tensor): Promise<number> => largest(await a.sub(b).toArray());

  describe('LLM.int8()', () => {
    it('has the codes and scales of bitsandbytes, and comes back from them', async () => {
      const quantized = quantizeInt8(matrix(await int8.read('weight')));
      const written = toBitsandbytesInt8(quantized);
      expect(written.codes).toEqual(await int8.read('weight.codes'));
      expect(written.scales).toEqual(await int8.read('weight.SCB'));
      expect(fromBitsandbytesInt8('w', written)).toEqual(quantized);
      expect(() => fromBitsandbytesInt8('w', { ...written, codes: written.scales })).toThrow('needs int8 codes');
    });

    // bitsandbytes multiplies by 6.200124e-05 where 1 / 127² is 6.2000124e-05: 1.8e-5 of a value.
    describe.each(ENGINES)('on the %s engine', (_, engine) => {
      it.each([
        ['outliers', 6],
        ['all', 0],
      ])('%s: product and gradient are those of bitsandbytes', (name, threshold) =>
        onEngine(engine, async () => {
          const quantized = quantizeInt8(matrix(await int8.read('weight')), { threshold });
          const weight = quantizedTensors(quantized);
          const { output, pullback } = vjp((x: Tensor) => quantizedMatmul(x, weight), toTensor(await int8.read('x')));
          const wanted = toTensor(await int8.read(`${name}.y`));
          expect(await error(output, wanted)).toBeLessThan(3e-5 * largest(await wanted.toArray()));
          const [dx] = pullback(toTensor(await int8.read('dy')));
          expect(await error(dx, toTensor(await int8.read(`${name}.dx`)))).toBeLessThan(1e-6);
          expect(await error(dequantized(weight), tensor(dequantizeInt8(quantized).data, weight.shape))).toBeLessThan(
            1e-7,
          );
        }),
      );

      it('adds whole numbers up without rounding, however long the row', () =>
        onEngine(engine, async () => {
          const width = 3001;
          // 127 · 127 · 3000 + 1 is odd and beyond 2²⁵, where float32 has even numbers only.
          const codes = new Uint8Array(2 * width).fill(255);
          codes[2 * width - 2] = 128 + 1;
          codes[2 * width - 1] = 128;
          const x = new Float32Array(width).fill(1);
          const scales = tensor([127, 127]);
          const y = int8Matmul(tensor(x, [1, width]), tensor(codes, [width, 2]), scales, { threshold: 0 });
          // (sum + 127 · 1) - sum of the other row, in the units of the product.
          const [first, second] = await y.toArray();
          expect((first! - second!) * 127).toBeCloseTo(127, -1);
        }));
    });

    it('errs by half a step a factor at most: |y - x·Wᵀ| ≤ Σ (|w| s_x + |x| s_w + s_x s_w) / 2', async () => {
      const weight = { shape: [3, 50], data: Float32Array.from({ length: 150 }, (_, i) => Math.sin(i * i)) };
      const x = Float32Array.from({ length: 100 }, (_, i) => 3 * Math.cos(1.7 * i));
      const exact = await tensor(x, [2, 50])
        .matmul(tensor(weight.data, [3, 50]), { transposeB: true })
        .toArray();
      const got = await quantizedMatmul(tensor(x, [2, 50]), quantizedTensors(quantizeInt8(weight))).toArray();
      got.forEach((value, i) => {
        const row = x.subarray(50 * Math.floor(i / 3), 50 * Math.floor(i / 3) + 50);
        const column = weight.data.subarray(50 * (i % 3), 50 * (i % 3) + 50);
        const [stepX, stepW] = [largest(row) / 127, largest(column) / 127];
        const bound = row.reduce(
          (sum, v, k) => sum + Math.abs(column[k]!) * stepX + Math.abs(v) * stepW + stepX * stepW,
          0,
        );
        expect(Math.abs(value - exact[i]!)).toBeLessThan(bound / 2 + 0.01);
      });
    });

    it('keeps what plain 8-bit rounding loses beside a planted outlier', async () => {
      const [rows, width] = [8, 64];
      const x = Float32Array.from({ length: rows * width }, (_, i) => (i % width === 5 ? 60 : Math.sin(i) / 2));
      // On the grid already, so that only what happens to x counts.
      const weight = dequantizeInt8(
        quantizeInt8({ shape: [4, width], data: Float32Array.from({ length: 4 * width }, (_, i) => Math.cos(3 * i)) }),
      );
      const input = tensor(x, [rows, width]);
      const exact = input.matmul(tensor(weight.data, weight.shape), { transposeB: true });
      const errorOf = (threshold: number) =>
        error(quantizedMatmul(input, quantizedTensors(quantizeInt8(weight, { threshold }))), exact);
      expect(await errorOf(0)).toBeGreaterThan(10 * (await errorOf(6)));
    });
  });

  describe('block-wise int4', () => {
    it.each(cases)("$name: codes, scales and zero points are ONNX Runtime's, byte for byte", async (one) => {
      const options = { blockSize: one.block_size, symmetric: one.symmetric };
      const { parts } = quantizeInt4(matrix(await int4.read(one.weight)), options);
      expect(parts.codes).toEqual(await int4.read(`${one.name}.codes`));
      expect(parts.scales).toEqual(await int4.read(`${one.name}.scales`));
      if (one.symmetric) expect(parts.zeroPoints).toBeUndefined();
      else expect(parts.zeroPoints).toEqual(await int4.read(`${one.name}.zero_points`));
    });

    it.each(ENGINES)('multiplies with the dequantised weight on the %s engine', (_, engine) =>
      onEngine(engine, async () => {
        for (const one of cases) {
          const options = { blockSize: one.block_size, symmetric: one.symmetric };
          const quantized = quantizeInt4(matrix(await int4.read(one.weight)), options);
          const weight = quantizedTensors(quantized);
          const plain = tensor(dequantizeInt4(quantized).data, weight.shape);
          expect(await error(dequantized(weight), plain)).toBeLessThan(1e-7);
          const x = tensor(
            Float32Array.from({ length: 2 * weight.shape[1]! }, (_, i) => Math.sin(i)),
            [1, 2, weight.shape[1]!],
          );
          const wanted = x.reshape([2, weight.shape[1]!]).matmul(plain, { transposeB: true });
          expect(await error(quantizedMatmul(x, weight).reshape(wanted.shape), wanted)).toBeLessThan(1e-4);
        }
      }),
    );

    it('errs by half a step at most, and keeps a weight that is on the grid', () => {
      const weight = { shape: [4, 64], data: Float32Array.from({ length: 256 }, (_, i) => Math.sin(i * i)) };
      for (const symmetric of [false, true]) {
        const quantized = quantizeInt4(weight, { blockSize: 32, symmetric });
        const back = dequantizeInt4(quantized);
        back.data.forEach((w, i) => {
          const step = Math.abs(quantized.parts.scales.data[Math.floor(i / 32)]!);
          // The end that the symmetric grid has no code for is a whole step away.
          expect(Math.abs(w - weight.data[i]!)).toBeLessThanOrEqual(step * (symmetric ? 1 : 0.5) * 1.0001);
        });
        expect(dequantizeInt4(quantizeInt4(back, { blockSize: 32, symmetric })).data).toEqual(back.data);
      }
      expect(bitsPerWeight(quantizeInt4(weight, { blockSize: 32, symmetric: true }))).toBe(5);
      expect(() => quantizeInt4(weight, { blockSize: 24 })).toThrow('blockSize is 24; it must be one of 16, 32');
    });
  });
});

describe('memory', () => {
  const LAYERS = 3;
  const WIDTH = 64;
  const matrix = (seed: number) => ({
    shape: [WIDTH, WIDTH],
    data: Float32Array.from({ length: WIDTH * WIDTH }, (_, i) => Math.sin(seed + i * i) / 8),
  });

  const METHODS: readonly [string, (seed: number) => QuantizedWeight][] = [
    ['nf4', (seed) => quantizeNf4(matrix(seed))],
    ['int8', (seed) => quantizeInt8(matrix(seed))],
    ['int4', (seed) => quantizeInt4(matrix(seed))],
  ];

  const x = tensor(
    Float32Array.from({ length: 2 * WIDTH }, (_, i) => Math.cos(i)),
    [2, WIDTH],
  );

  const lossThrough = (weights: readonly QuantizedWeight<Tensor>[]) => (input: Tensor) =>
    weights.reduce((h, weight) => quantizedMatmul(h, weight).tanh(), input).sum();

  it.each(METHODS)('%s: a backward pass unpacks each weight again, and only once its cotangent is there', (_, make) => {
    const weights = Array.from({ length: LAYERS }, (__, seed) => quantizedTensors(make(seed)));
    const { value, gradient } = valueAndGrad(lossThrough(weights))(x);
    const { graph } = captureLeaves([value.value, gradient.value], []);
    const { nodes } = simplify(graph, { kernels: new Set() });
    const bytesOf = (node: GraphNode) => sizeOf(node.outputs[0]!.shape);
    // Once forward and once backward for each layer: no pass uses what another has unpacked.
    const unpacked = nodes.filter((n) => isOp(n, 'cast') && n.inputs[0]!.node.outputs[0]!.dtype === 'uint8');
    expect(unpacked.filter((n) => bytesOf(n) >= (WIDTH * WIDTH) / 2)).toHaveLength(2 * LAYERS);
    const waiting = nodes.filter((n) => isOp(n, 'barrier'));
    expect(waiting).toHaveLength(LAYERS);
    for (const { inputs } of waiting) {
      expect(inputs[0]!.node.outputs[0]!.dtype).toBe('uint8');
      // The cotangent of the layer's output.
      expect(inputs[1]!.node.outputs[inputs[1]!.index]).toEqual({ shape: [2, WIDTH], dtype: 'float32' });
    }
  });

  it('the gradient through several layers is that of the dequantised weights', async () => {
    const stored = Array.from({ length: LAYERS }, (_, seed) => quantizeNf4(matrix(seed)));
    const plain = stored.map((weight: FourBitWeight) => tensor(dequantizeNf4(weight).data, [WIDTH, WIDTH]));
    const wanted = valueAndGrad((input: Tensor) =>
      plain.reduce((h, weight) => h.matmul(weight, { transposeB: true }).tanh(), input).sum(),
    )(x).gradient;
    const got = valueAndGrad(lossThrough(stored.map(quantizedTensors)))(x).gradient;
    expect(await got.sub(wanted).abs().max().item()).toBeLessThan(1e-6);
  });
});

describe('small floats', async () => {
  const file = await openSafetensors(join(import.meta.dirname, '../../../goldens/small-floats/float8.safetensors'));
  afterAll(() => file.close());

  it.each(['F8_E4M3', 'F8_E5M2'] as const)('%s stands for the numbers of torch', async (format) => {
    const { data } = await file.read(format.slice(3).toLowerCase());
    expect(float8Table(format)).toEqual(data);
  });

  it('FP8 multiplies every number by the scale of its block, also where the last block is smaller', () => {
    const shape = [5, 7];
    const codes = Float32Array.from({ length: 35 }, (_, i) => i - 17);
    const scales = { shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) };
    const { data } = fromFp8('w', { shape, data: codes.slice() }, scales, { block: [2, 4] });
    const expected = codes.map((code, i) => code * scales.data[2 * Math.floor(i / 14) + ((i % 7) >> 2)]!);
    expect(data).toEqual(expected);
    expect(() => fromFp8('w', { shape, data: codes }, scales)).toThrow(/scales \[3, 2\], which do not fit/);
    expect(() => fromFp8('w', { shape, data: codes }, scales, { block: [2, 3] })).toThrow(/blocks of \[2, 3\]/);
    const one = { shape: [], data: Float32Array.of(2) };
    expect(() => fromFp8('w', { shape: [5, 7, 1], data: codes }, one)).toThrow(/only matrices are read/);
  });

  it('MXFP4 and NVFP4 are refused with another count of scales', () => {
    expect(() => fromMxfp4('w', new Uint8Array(16), new Uint8Array(2))).toThrow(/2 scales for 32 numbers/);
    expect(() => fromNvfp4('w', new Uint8Array(16), new Float32Array(1), { by: 2 })).toThrow(/1 scales for 32 numbers/);
  });
});
