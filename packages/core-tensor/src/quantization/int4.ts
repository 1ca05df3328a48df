import { boolean, custom, type Given, oneOf, options } from '@posttrain/interfaces';
import type { TensorData } from '../io/tensor-data.js';
import {
  checkMatrix,
  type FloatMatrix,
  INT4_ACTIVATIONS,
  type Int4Weight,
  QuantizationError,
} from './quantized-weight.js';

const BLOCK_SIZES: readonly unknown[] = [16, 32, 64, 128, 256];
const int4Options = options('quantizeInt4', {
  /** Elements of a row that share one scale: 16, 32, 64, 128 or 256. Default 32. */
  blockSize: custom<number>()(`one of ${BLOCK_SIZES.join(', ')}`, (size) => BLOCK_SIZES.includes(size), {
    default: 32,
  }),
  /** Codes around a fixed zero; otherwise each block has a zero point of its own. Default false. */
  symmetric: boolean({ default: false }),
  /** What products round their inputs to, block by block. Default `float32`: they are not rounded. */
  activations: oneOf(INT4_ACTIVATIONS, { default: 'float32' }),
});
/** Options of `quantizeInt4`. */
export type QuantizeInt4Options = Given<typeof int4Options>;

const LARGEST_CODE = 15;
const MIDDLE = 8;

/**
 * Block-wise 4-bit integers in the layout of ONNX Runtime's MatMulNBits, rounded as its quantiser rounds: a block of a
 * row from lowest to highest (both 0 included) is cut in 15 steps; symmetric, in steps of an eighth of the element of the
 * largest absolute value, which gets code 0.
 *
 * @throws QuantizationError for what is not a matrix of finite numbers
 */
export function quantizeInt4(weight: FloatMatrix, given: QuantizeInt4Options = {}): Int4Weight {
  const { blockSize, symmetric, activations } = int4Options.read(given);
  const [rows, columns] = checkMatrix('quantizeInt4', weight);
  const blocks = Math.ceil(columns / blockSize);
  const scales = new Float32Array(rows * blocks);
  const zeros = new Uint8Array(rows * blocks).fill(MIDDLE);
  const codes = new Uint8Array(rows * blocks * blockSize);
  for (let block = 0; block < rows * blocks; block++) {
    const start = Math.floor(block / blocks) * columns + (block % blocks) * blockSize;
    const values = weight.data.subarray(start, start + Math.min(blockSize, columns - (block % blocks) * blockSize));
    const { scale, zero } = symmetric ? symmetricGrid(values) : fullGrid(values);
    scales[block] = scale;
    zeros[block] = zero;
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    const own = codes.subarray(block * blockSize, (block + 1) * blockSize);
    for (let i = 0; i < values.length; i++) {
      const code = roundAwayFromZero(Math.fround(Math.fround(values[i]! * inverse) + zero));
      own[i] = Math.min(LARGEST_CODE, Math.max(0, code));
    }
  }
  return weightOf({ shape: weight.shape, blockSize, symmetric, activations }, codes, scales, zeros);
}

/** Codes [out, blocks of a row, blockSize], scales and zeros [out · blocks] as a weight. */
function weightOf(
  format: Pick<Int4Weight, 'shape' | 'blockSize' | 'symmetric' | 'activations'>,
  codes: Uint8Array,
  scales: Float32Array,
  zeros: Uint8Array | Float32Array,
): Int4Weight {
  const rows = format.shape[0]!;
  const blocks = scales.length / rows;
  return {
    method: 'int4',
    ...format,
    parts: {
      codes: packed(codes, [rows, blocks, format.blockSize]),
      scales: { dtype: 'float32', shape: [rows * blocks], data: scales },
      ...(format.symmetric ? {} : { zeroPoints: zeroPoints(zeros, rows, blocks) }),
    },
  };
}

const zeroPoints = (zeros: Uint8Array | Float32Array, rows: number, blocks: number) =>
  zeros instanceof Float32Array
    ? ({ dtype: 'float32', shape: [rows * blocks], data: zeros } as const)
    : packed(zeros, [rows, blocks]);

export interface Int4Numbers extends Pick<Int4Weight, 'shape' | 'blockSize' | 'symmetric'> {
  /** 0 to 15, [out, in]. */
  readonly codes: Uint8Array;
  /** [out, blocks of a row]. */
  readonly scales: Float32Array;
  /** [out, blocks of a row]: 0 to 15 (all 8 when symmetric), or any numbers, as HQQ has them. */
  readonly zeros: Uint8Array | Float32Array;
}

/**
 * A weight of given codes (GPTQ's, HQQ's), for products with float32 inputs. @throws QuantizationError for an unknown block
 * size
 */
export function packInt4({ codes, scales, zeros, shape, blockSize, symmetric }: Int4Numbers): Int4Weight {
  checkBlockSize('packInt4', blockSize);
  const [rows, columns] = shape as [number, number];
  const width = Math.ceil(columns / blockSize) * blockSize;
  const padded = new Uint8Array(rows * width);
  for (let row = 0; row < rows; row++) padded.set(codes.subarray(row * columns, (row + 1) * columns), row * width);
  return weightOf({ shape, blockSize, symmetric, activations: 'float32' }, padded, scales, zeros);
}

function checkBlockSize(what: string, blockSize: number): void {
  if (BLOCK_SIZES.includes(blockSize)) return;
  throw new QuantizationError(what, `blockSize ${blockSize} is not one of ${BLOCK_SIZES.join(', ')}`);
}

function fullGrid(values: Float32Array): { scale: number; zero: number } {
  let [low, high] = [0, 0];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const scale = Math.fround(Math.fround(high - low) / LARGEST_CODE);
  if (scale === 0) return { scale, zero: 0 };
  const zero = roundAwayFromZero(Math.fround(-low / scale));
  return { scale, zero: Math.min(LARGEST_CODE, Math.max(0, zero)) };
}

function symmetricGrid(values: Float32Array): { scale: number; zero: number } {
  let [low, high] = [0, 0];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const extreme = high > -low ? high : low;
  return { scale: Math.fround(extreme / -MIDDLE), zero: MIDDLE };
}

const roundAwayFromZero = (x: number): number => Math.sign(x) * Math.floor(Math.abs(x) + 0.5);

/** Numbers below 16, two a byte along the last axis, the earlier in the low half; an odd one is paired with 8. */
function packed(numbers: Uint8Array, shape: readonly number[]): Extract<TensorData, { dtype: 'uint8' }> {
  const width = shape.at(-1)!;
  const bytes = Math.ceil(width / 2);
  const data = new Uint8Array((numbers.length / width) * bytes);
  if (width % 2 === 1) for (let end = bytes - 1; end < data.length; end += bytes) data[end] = MIDDLE << 4;
  numbers.forEach((number, i) => {
    const column = i % width;
    data[Math.floor(i / width) * bytes + (column >> 1)]! |= number << (column % 2 === 0 ? 0 : 4);
  });
  return { dtype: 'uint8', shape: [...shape.slice(0, -1), bytes], data };
}

/** The weight that the codes stand for: (code - zero) · scale, in float32. */
export function dequantizeInt4({ shape, blockSize, parts }: Int4Weight): FloatMatrix {
  const [rows, columns] = shape as [number, number];
  const { codes, scales, zeroPoints } = parts;
  const zeroOf = (row: number, block: number): number => {
    if (!zeroPoints) return MIDDLE;
    if (zeroPoints.dtype === 'float32') return zeroPoints.data[row * blocks + block]!;
    return nibble(zeroPoints.data as Uint8Array, row * Math.ceil(blocks / 2), block);
  };
  const blocks = Math.ceil(columns / blockSize);
  const nibble = (bytes: Uint8Array, start: number, i: number) =>
    (bytes[start + (i >> 1)]! >> (i % 2 === 0 ? 0 : 4)) & 15;
  const data = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const block = Math.floor(column / blockSize);
      const code = nibble(codes.data as Uint8Array, (row * blocks * blockSize) / 2, column);
      data[row * columns + column] = (code - zeroOf(row, block)) * scales.data[row * blocks + block]!;
    }
  }
  return { shape, data };
}
