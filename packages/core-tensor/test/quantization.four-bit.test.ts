import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openSafetensors, type TensorData } from '../src/io/index.js';
import {
  BITSANDBYTES_SUFFIXES,
  bitsPerWeight,
  dequantizeNf4,
  type FloatMatrix,
  fromBitsandbytes,
  QuantizationError,
  quantizeNf4,
  toBitsandbytes,
} from '../src/quantization/index.js';

const goldens = join(import.meta.dirname, '../../../goldens/quantization');
const open = (name: string) => openSafetensors(join(goldens, `four-bit-${name}.safetensors`));
const files = { weights: await open('weights'), nf4: await open('nf4'), fp4: await open('fp4') };
afterAll(() => Promise.all(Object.values(files).map((file) => file.close())));
const { cases } = JSON.parse(readFileSync(join(goldens, 'four-bit.json'), 'utf8')) as {
  cases: { name: string; weight: string; levels: 'nf4' | 'fp4'; block_size: number; double_quantization: boolean }[];
};

const matrix = async (name: string): Promise<FloatMatrix> =>
  (await files.weights.read(name)) as FloatMatrix & TensorData;

const normalMatrix = (rows: number, columns: number): FloatMatrix => {
  const data = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * i * 0.37) + 0.2 * Math.cos(i));
  return { shape: [rows, columns], data };
};

describe('NF4 and FP4', () => {
  it.each(cases)('$name: every tensor is what bitsandbytes writes, byte for byte', async (one) => {
    const quantized = quantizeNf4(await matrix(one.weight), {
      blockSize: one.block_size,
      doubleQuantization: one.double_quantization,
      levels: one.levels,
    });
    const written = toBitsandbytes(quantized, 'float32');
    const file = files[one.levels];
    const suffixes = [...file.tensors.keys()]
      .filter((name) => name.startsWith(`${one.name}.weight`))
      .map((name) => name.slice(`${one.name}.weight`.length));
    expect(Object.keys(written).sort()).toEqual(suffixes.sort());
    for (const [suffix, tensor] of Object.entries(written)) {
      expect({ suffix, ...tensor }).toEqual({ suffix, ...(await file.read(`${one.name}.weight${suffix}`)) });
    }
    expect(fromBitsandbytes('w', written)).toEqual(quantized);
  });

  it.each(cases)('$name: dequantised as bitsandbytes does, bit for bit', async (one) => {
    const file = files[one.levels];
    const suffixes = ['', ...BITSANDBYTES_SUFFIXES].filter((suffix) => file.tensors.has(`${one.name}.weight${suffix}`));
    const tensors: Record<string, TensorData> = {};
    for (const suffix of suffixes) tensors[suffix] = await file.read(`${one.name}.weight${suffix}`);
    const { shape, data } = dequantizeNf4(fromBitsandbytes('w', tensors));
    expect(shape).toEqual((await matrix(one.weight)).shape);
    const lastRows = (await file.read(`${one.name}.dequantized`)).data;
    expect(data.slice(-lastRows.length)).toEqual(lastRows);
  });

  it('are read where bnb_4bit_quant_storage has the same bytes as numbers of another type', () => {
    const quantized = quantizeNf4(normalMatrix(4, 64));
    const written = toBitsandbytes(quantized, 'float32');
    const bytes = (written['']!.data as Uint8Array).slice().buffer;
    for (const other of [
      { dtype: 'bfloat16', data: new Uint16Array(bytes) },
      { dtype: 'float16', data: new Uint16Array(bytes) },
      { dtype: 'float32', data: new Float32Array(bytes) },
    ] as const) {
      const stored = { ...other, shape: [other.data.length, 1] } as TensorData;
      const { codes } = fromBitsandbytes('w', { ...written, '': stored }).parts;
      expect(codes.data).toEqual(quantized.parts.codes.data);
      expect(codes.dtype).toBe('uint8');
    }
  });

  it('takes 4.127 bits for each weight, as the paper works out', () => {
    expect(bitsPerWeight(quantizeNf4(normalMatrix(512, 1024)))).toBeCloseTo(4 + 8 / 64 + 32 / (64 * 256), 3);
    expect(bitsPerWeight(quantizeNf4(normalMatrix(64, 64), { doubleQuantization: false }))).toBe(4.5);
  });

  it('keeps a weight that is on the grid, and never errs by more than half the widest gap', () => {
    const weight = normalMatrix(32, 64);
    const once = dequantizeNf4(quantizeNf4(weight, { doubleQuantization: false }));
    expect(dequantizeNf4(quantizeNf4(once, { doubleQuantization: false }))).toEqual(once);
    const gap = (1 - 0.6961928009986877) / 2;
    for (let block = 0; block < 32; block++) {
      const part = weight.data.subarray(64 * block, 64 * block + 64);
      const largest = Math.max(...part.map(Math.abs));
      part.forEach((w, i) => {
        expect(Math.abs(w - once.data[64 * block + i]!)).toBeLessThanOrEqual(gap * largest * 1.000001);
      });
    }
  });

  it('refuses what has no code, and files that do not fit', () => {
    const weight = normalMatrix(4, 64);
    const infinite = { ...weight, data: weight.data.with(70, Number.NaN) };
    expect(() => quantizeNf4(infinite)).toThrow('row 1, column 6 is NaN');
    expect(() => quantizeNf4({ shape: [4], data: new Float32Array(4) })).toThrow(QuantizationError);
    expect(() => quantizeNf4(weight, { blockSize: 48 })).toThrow('blockSize is 48; it must be one of 32, 64');
    expect(() => quantizeNf4(weight, { blocksize: 64 } as object)).toThrow('blockSize');
    const written = toBitsandbytes(quantizeNf4(weight), 'float32');
    const { '.nested_quant_map': _, ...incomplete } = written;
    expect(() => fromBitsandbytes('w', incomplete)).toThrow('w.nested_quant_map is missing');
    expect(() => fromBitsandbytes('w', { ...written, '': written['.absmax']! })).toThrow('not 128 of uint8');
    expect(() => fromBitsandbytes('w', { '': written['']! })).toThrow('no tensor w.quant_state.bitsandbytes__nf4');
  });
});
