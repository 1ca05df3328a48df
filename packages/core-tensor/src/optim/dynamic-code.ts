import { tensor, zeros } from '../create.js';
import type { Tensor } from '../tensor.js';

/** Elements that share one scale. */
export const BLOCK_SIZE = 256;

/** `signed`: numbers of [-1, 1]; `unsigned`: of [0, 1], with twice as many codes for them. */
export type DynamicCodeKind = 'signed' | 'unsigned';

/** Numbers in 8 bits each: x ≈ code[codes] · scale of the block. */
export interface BlockwiseCodes {
  /** uint8, in the shape of the numbers. */
  readonly codes: Tensor;
  /** float32 [number of blocks]: the largest |x| of each block of 256 elements in row-major order. */
  readonly scales: Tensor;
}

/**
 * The dynamic tree code of 8-bit optimizers (arXiv 2110.02861, section 1.3), as bitsandbytes lays it out: 0, 1, and for
 * each of seven decades, of which each has twice the codes of the one below it, the centres of equal parts of
 * [0.1, 1] · 10^decade. 256 numbers in ascending order; the index is the code.
 */
export function dynamicCode(kind: DynamicCodeKind): Float32Array {
  const values = [0, 1];
  for (let decade = -6; decade <= 0; decade++) {
    const parts = 2 ** (decade + (kind === 'signed' ? 6 : 7));
    const bounds = linspace(0.1, 1, parts + 1);
    const power = Math.fround(10 ** decade);
    for (let i = 0; i < parts; i++) {
      const centre = Math.fround(Math.fround(bounds[i]! + bounds[i + 1]!) / 2);
      values.push(power * centre);
      if (kind === 'signed') values.push(-power * centre);
    }
  }
  return Float32Array.from(values).sort();
}

/** In float32 and from both ends towards the middle, as torch has it, so that the codes are equal bit for bit. */
function linspace(start: number, end: number, count: number): number[] {
  const [first, last] = [Math.fround(start), Math.fround(end)];
  const step = Math.fround(Math.fround(last - first) / (count - 1));
  return Array.from({ length: count }, (_, i) =>
    i < count / 2 ? Math.fround(first + step * i) : Math.fround(last - step * (count - 1 - i)),
  );
}

/** The smallest normal float32, about. */
const SMALLEST_SCALE = 1.2e-38;

const CODES = { signed: dynamicCode('signed'), unsigned: dynamicCode('unsigned') } as const;

/** float32 of any shape to 8 bits per element and one scale per 256. */
export function quantizeBlockwise(x: Tensor, kind: DynamicCodeKind): BlockwiseCodes {
  const blocks = toBlocks(x);
  const scales = blocks.abs().max(1, { keepDims: true });
  // A block of zeros has scale 0, and any divisor leaves its elements 0.
  const normalised = blocks.div(scales.maximum(SMALLEST_SCALE));
  const codes = nearestCode(normalised, CODES[kind]).cast('uint8');
  return { codes: fromBlocks(codes, x.shape), scales: scales.reshape([scales.size]) };
}

/** What `quantizeBlockwise` made, as float32 in the shape of the codes. */
export function dequantizeBlockwise({ codes, scales }: BlockwiseCodes, kind: DynamicCodeKind): Tensor {
  const values = tensor(CODES[kind]).gather(toBlocks(codes).cast('int32'));
  return fromBlocks(values.mul(scales.reshape([scales.size, 1])), codes.shape);
}

/** Number of scales of `size` elements. */
export const blockCount = (size: number): number => Math.ceil(size / BLOCK_SIZE);

function toBlocks(x: Tensor): Tensor {
  const count = blockCount(x.size);
  return x
    .reshape([x.size])
    .pad(0, 0, count * BLOCK_SIZE - x.size)
    .reshape([count, BLOCK_SIZE]);
}

const fromBlocks = (x: Tensor, shape: readonly number[]): Tensor =>
  x
    .reshape([x.size])
    .slice(
      0,
      0,
      shape.reduce((a, b) => a * b, 1),
    )
    .reshape(shape);

/** int32 index of the nearest of 256 ascending codes: eight halvings by the middles between neighbours. */
function nearestCode(x: Tensor, code: Float32Array): Tensor {
  const middles = tensor(Float32Array.from({ length: 255 }, (_, i) => (code[i]! + code[i + 1]!) / 2));
  let index = zeros(x.shape, 'int32');
  for (let half = 128; half >= 1; half /= 2) {
    const isAbove = middles.gather(index.add(half - 1)).less(x);
    index = index.add(isAbove.cast('int32').mul(half));
  }
  return index;
}
