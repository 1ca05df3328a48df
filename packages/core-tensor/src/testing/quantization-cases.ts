import { int4Dequantize, int4Matmul } from '../kernels/int4-matmul.js';
import { int8Dequantize, int8Matmul } from '../kernels/int8-matmul.js';
import { nf4Dequantize, nf4Matmul } from '../kernels/nf4-matmul.js';
import type { Int4Activations } from '../quantization/quantized-weight.js';
import { type CaseInput, type ConformanceCase, defineCase, given, sample } from './case.js';

/** Bytes of every value, which are codes of every value. */
const bytes = (shape: readonly number[], seed: number): CaseInput =>
  sample(shape, 'uint8', { low: 0, high: 255, seed });
const scales = (count: number): CaseInput => sample([count], 'float32', { low: 0.1, high: 1, seed: 3 });
const halves = (size: number): number => Math.ceil(size / 2);

/** [out, in] and the block size: whole rows, blocks across rows, an incomplete last block, an odd number of elements. */
const LAYOUTS = [
  [4, 64, 64],
  [6, 48, 32],
  [5, 30, 64],
  [3, 7, 32],
  [1, 1, 32],
] as const;

function nf4Cases(): { nf4Matmul: ConformanceCase[]; nf4Dequantize: ConformanceCase[] } {
  const parts = (out: number, inputs: number, blockSize: number) => [
    bytes([halves(out * inputs), 1], 1),
    scales(Math.ceil((out * inputs) / blockSize)),
  ];
  const matmul = (rows: number, [out, inputs, blockSize]: (typeof LAYOUTS)[number], method: 'nf4' | 'fp4') =>
    defineCase(
      'nf4Matmul',
      [sample([rows, inputs]), ...parts(out, inputs, blockSize)],
      (x, codes, absmax) => nf4Matmul(x!, codes!, absmax!, { method, shape: [out, inputs], blockSize }),
      { note: `${method} [${out}, ${inputs}] / ${blockSize}`, variables: [0] },
    );
  return {
    nf4Matmul: [
      ...LAYOUTS.map((layout) => matmul(3, layout, 'nf4')),
      matmul(2, LAYOUTS[1], 'fp4'),
      matmul(0, LAYOUTS[0], 'nf4'),
      defineCase(
        'nf4Matmul',
        [sample([2, 64], 'float16'), ...parts(4, 64, 64)],
        (x, codes, absmax) => nf4Matmul(x!, codes!, absmax!, { method: 'nf4', shape: [4, 64], blockSize: 64 }),
        { note: 'float16', variables: [0], tolerance: 4e-3 },
      ),
    ],
    nf4Dequantize: LAYOUTS.map(([out, inputs, blockSize]) =>
      defineCase(
        'nf4Dequantize',
        parts(out, inputs, blockSize),
        (codes, absmax) => nf4Dequantize(codes!, absmax!, { method: 'nf4', shape: [out, inputs], blockSize }),
        { note: `[${out}, ${inputs}] / ${blockSize}`, variables: [] },
      ),
    ),
  };
}

/** Rounding has no differences, so the gradient is held to its formula elsewhere and not here. */
function int8Cases(): ConformanceCase[] {
  const matmul = (x: CaseInput, threshold: number, note: string) => {
    const [inputs, out] = [x.shape[1]!, 5];
    return defineCase(
      'int8Matmul',
      [x, bytes([inputs, out], 1), scales(out)],
      (t, codes, absmax) => int8Matmul(t!, codes!, absmax!, { threshold }),
      { note, variables: [] },
    );
  };
  const [width, wide] = [6, 2100];
  const row = Array.from({ length: width }, (_, i) => 0.5 + i / 7);
  return [
    matmul(sample([3, width]), 0, 'no threshold'),
    matmul(sample([3, width], 'float32', { low: -4, high: 3 }), 3, 'with outliers'),
    matmul(sample([3, width]), 6, 'no outliers'),
    matmul(given([...row, ...row.map(() => 0), ...row.map((v) => -9 * v)], 'float32', [3, width]), 6, 'a row of zeros'),
    matmul(
      given(
        row.map((v) => 20 * v),
        'float32',
        [1, width],
      ),
      6,
      'outliers only',
    ),
    matmul(sample([2, width], 'float16'), 6, 'float16'),
    matmul(given(new Array(2 * wide).fill(1), 'float32', [2, wide]), 6, 'more terms than a float holds'),
    matmul(sample([0, width]), 6, 'empty'),
  ];
}

type Int4Case = readonly [out: number, inputs: number, blockSize: number];

/** Codes, scales and zero points: none, codes, or numbers. */
function int4Parts([out, inputs, blockSize]: Int4Case, zeros: 'none' | 'codes' | 'numbers'): CaseInput[] {
  const blocks = Math.ceil(inputs / blockSize);
  const parts = [bytes([out, blocks, blockSize / 2], 1), scales(out * blocks)];
  if (zeros === 'numbers') return [...parts, sample([out * blocks], 'float32', { low: 3, high: 12, seed: 4 })];
  return zeros === 'none' ? parts : [...parts, bytes([out, halves(blocks)], 2)];
}

function int4Cases(): { int4Matmul: ConformanceCase[]; int4Dequantize: ConformanceCase[] } {
  const matmul = (
    rows: number,
    size: Int4Case,
    zeros: 'none' | 'codes' | 'numbers',
    activations: Int4Activations = 'float32',
  ) => {
    const [out, inputs, blockSize] = size;
    return defineCase(
      'int4Matmul',
      [sample([rows, inputs]), ...int4Parts(size, zeros)],
      (x, ...weight) => int4Matmul(x!, weight, { shape: [out, inputs], blockSize, activations }),
      // Rounding has no slope that a difference would show.
      {
        note: `[${out}, ${inputs}] / ${blockSize}, ${zeros === 'numbers' ? 'zeros that are no codes' : activations}`,
        variables: activations === 'int8' ? [] : [0],
      },
    );
  };
  return {
    int4Matmul: [
      matmul(3, [4, 64, 32], 'none'),
      matmul(3, [4, 64, 32], 'codes'),
      matmul(2, [5, 40, 16], 'none'),
      matmul(2, [3, 75, 32], 'codes'),
      matmul(1, [2, 128, 128], 'none'),
      matmul(0, [4, 64, 32], 'none'),
      matmul(3, [4, 64, 32], 'none', 'int8'),
      matmul(2, [3, 75, 32], 'codes', 'int8'),
      matmul(0, [4, 64, 32], 'none', 'int8'),
      matmul(2, [3, 75, 32], 'numbers'),
    ],
    int4Dequantize: (['none', 'codes', 'numbers'] as const).flatMap((zeros) =>
      (
        [
          [4, 64, 32],
          [3, 75, 16],
        ] as const
      ).map((size) =>
        defineCase(
          'int4Dequantize',
          int4Parts(size, zeros),
          (...weight) => int4Dequantize(weight, { shape: size.slice(0, 2), blockSize: size[2] }),
          { note: `[${size[0]}, ${size[1]}] / ${size[2]}, zeros: ${zeros}`, variables: [] },
        ),
      ),
    ),
  };
}

export const quantizationCases: Readonly<Record<string, () => readonly ConformanceCase[]>> = {
  nf4Matmul: () => nf4Cases().nf4Matmul,
  nf4Dequantize: () => nf4Cases().nf4Dequantize,
  int8Matmul: int8Cases,
  int8Dequantize: () => [
    defineCase('int8Dequantize', [bytes([7, 5], 1), scales(5)], (codes, absmax) => int8Dequantize(codes!, absmax!), {
      variables: [],
    }),
  ],
  int4Matmul: () => int4Cases().int4Matmul,
  int4Dequantize: () => int4Cases().int4Dequantize,
};
