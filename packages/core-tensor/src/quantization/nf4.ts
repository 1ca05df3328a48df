import { boolean, custom, type Given, oneOf, options } from '@posttrain/interfaces';
import { sizeOf } from '../shape.js';
import { dynamicMap, NESTED_BLOCK_SIZE, quantizeDynamic } from './dynamic-map.js';
import { checkMatrix, type FloatMatrix, type FourBitWeight } from './quantized-weight.js';
import { torchSum } from './torch-sum.js';

const BLOCK_SIZES: readonly unknown[] = [32, 64, 128, 256, 512, 1024, 2048, 4096];
const nf4Options = options('quantizeNf4', {
  /** Elements that share one scale: 32, 64, 128 … 4096. Default 64. */
  blockSize: custom<number>()(`one of ${BLOCK_SIZES.join(', ')}`, (size) => BLOCK_SIZES.includes(size), {
    default: 64,
  }),
  /** Quantise the scales too, to 8 bits in blocks of 256. Default true. */
  doubleQuantization: boolean({ default: true }),
  /** The table of levels: NormalFloat or a 4-bit float. Default `nf4`. */
  levels: oneOf(['nf4', 'fp4'], { default: 'nf4' }),
});
/** Options of `quantizeNf4`. */
export type QuantizeNf4Options = Given<typeof nf4Options>;

/** The level of every code: for NF4 quantiles of the normal distribution, for FP4 sign, two exponent bits and one more. */
export const FOUR_BIT_LEVELS: Readonly<Record<FourBitWeight['method'], Float32Array>> = {
  nf4: Float32Array.of(
    ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635],
    ...[-0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634],
    ...[0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
  ),
  fp4: Float32Array.from([0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3], (level) => level / 12),
};

/** Smallest scale that a number is divided by. */
const SMALLEST_SCALE = Math.fround(1e-38);

/**
 * NF4 with double quantisation (QLoRA, arXiv 2305.14314): each block of 64 elements is divided by its largest absolute
 * value, and each quotient gets the code of the nearest of 16 levels. The scales, less their mean, are stored in 8 bits
 * in blocks of 256. Codes, scales and mean are those of bitsandbytes on an x86 processor, bit for bit.
 *
 * 4 + 8/64 + 32/(64 · 256) = 4.127 bits for each weight.
 *
 * @throws QuantizationError for what is not a matrix of finite numbers
 */
export function quantizeNf4(weight: FloatMatrix, given: QuantizeNf4Options = {}): FourBitWeight {
  const { blockSize, doubleQuantization, levels } = nf4Options.read(given);
  checkMatrix('quantizeNf4', weight);
  const { codes, absmax } = quantizeBlocks(weight.data, blockSize, levels);
  const shape = [codes.length, 1];
  const format = { method: levels, shape: weight.shape, blockSize, doubleQuantization };
  const packed = { dtype: 'uint8', shape, data: codes } as const;
  if (!doubleQuantization) {
    return { ...format, parts: { codes: packed, absmax: { dtype: 'float32', shape: [absmax.length], data: absmax } } };
  }
  const mean = Math.fround(torchSum(absmax) / absmax.length);
  const nested = quantizeDynamic(absmax.map((scale) => scale - mean));
  return {
    ...format,
    parts: {
      codes: packed,
      absmax: { dtype: 'uint8', shape: [absmax.length], data: nested.codes },
      nestedAbsmax: { dtype: 'float32', shape: [nested.absmax.length], data: nested.absmax },
      nestedOffset: { dtype: 'float32', shape: [], data: Float32Array.of(mean) },
    },
  };
}

/** The weight that the codes stand for: level · scale, in float32. */
export function dequantizeNf4(weight: FourBitWeight): FloatMatrix {
  const { method, shape, blockSize, parts } = weight;
  const levels = FOUR_BIT_LEVELS[method];
  const absmax = dequantizeAbsmax(weight);
  const codes = parts.codes.data;
  const data = new Float32Array(sizeOf(shape));
  for (let i = 0; i < data.length; i++) {
    const byte = codes[i >> 1]!;
    const code = i % 2 === 0 ? byte >> 4 : byte & 15;
    data[i] = levels[code]! * absmax[Math.floor(i / blockSize)]!;
  }
  return { shape, data };
}

function dequantizeAbsmax({ parts }: FourBitWeight): ArrayLike<number> {
  const { absmax, nestedAbsmax, nestedOffset } = parts;
  if (!nestedAbsmax || !nestedOffset) return absmax.data;
  const map = dynamicMap();
  const offset = nestedOffset.data[0]!;
  return Float32Array.from(
    absmax.data,
    (code, i) => Math.fround(map[code]! * nestedAbsmax.data[Math.floor(i / NESTED_BLOCK_SIZE)]!) + offset,
  );
}

/** Buckets that [-1, 1] is cut into: finer than the smallest distance of two midpoints, so each holds one at most. */
const BUCKETS = 1024;

/** For a sorted table: its midpoints, and the first midpoint that is not below each bucket. */
function searchTable(levels: Float32Array) {
  const order = Array.from(levels.keys()).sort((a, b) => levels[a]! - levels[b]!);
  const sorted = order.map((code) => levels[code]!);
  const midpoints = Float32Array.from({ length: 15 }, (_, i) => Math.fround(sorted[i]! + sorted[i + 1]!) / 2);
  const firstOf = Uint8Array.from({ length: BUCKETS + 1 }, (_, bucket) => {
    const edge = (2 * bucket) / BUCKETS - 1;
    const first = midpoints.findIndex((midpoint) => midpoint >= edge);
    return first < 0 ? 15 : first;
  });
  return { order, midpoints, firstOf };
}

const SEARCH = { nf4: searchTable(FOUR_BIT_LEVELS.nf4), fp4: searchTable(FOUR_BIT_LEVELS.fp4) };

function quantizeBlocks(values: Float32Array, blockSize: number, levels: 'nf4' | 'fp4') {
  const { order, midpoints, firstOf } = SEARCH[levels];
  const absmax = new Float32Array(Math.ceil(values.length / blockSize));
  const codes = new Uint8Array(Math.ceil(values.length / 2));
  for (let block = 0; block < absmax.length; block++) {
    const start = block * blockSize;
    const end = Math.min(start + blockSize, values.length);
    const isFull = end - start === blockSize;
    let largest = 0;
    for (let i = start; i < end; i++) largest = Math.max(largest, Math.abs(values[i]!));
    const divisor = Math.max(largest, SMALLEST_SCALE);
    absmax[block] = isFull ? largest : divisor;
    const inverse = Math.fround(1 / divisor);
    for (let i = start; i < end; i++) {
      // Full blocks are multiplied by the inverse, the last one is divided: they round differently.
      const quotient = Math.fround(isFull ? values[i]! * inverse : values[i]! / divisor);
      const scaled = Math.min(1, Math.max(-1, quotient));
      let index = firstOf[Math.floor((scaled + 1) * (BUCKETS / 2))]!;
      if (index < 15 && scaled > midpoints[index]!) index++;
      codes[i >> 1]! |= order[index]! << (i % 2 === 0 ? 4 : 0);
    }
  }
  // A last element without a partner is paired with the code of zero.
  if (values.length % 2 === 1) codes[codes.length - 1]! |= order[firstOf[BUCKETS / 2]!]!;
  return { codes, absmax };
}
