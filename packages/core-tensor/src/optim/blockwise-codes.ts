import { tensor } from '../create.js';
import { type DynamicMapKind, dynamicMap } from '../quantization/dynamic-map.js';
import type { Tensor } from '../tensor.js';

/** Elements that share one scale. */
export const BLOCK_SIZE = 256;

/** Numbers in 8 bits each: x ≈ dynamicMap[codes] · scale of the block. */
export interface BlockwiseCodes {
  /** uint8, in the shape of the numbers. */
  readonly codes: Tensor;
  /** float32 [number of blocks]: the largest |x| of each block of 256 elements in row-major order. */
  readonly scales: Tensor;
}

/** Divides blocks of zeros: the smallest normal float32, about. */
const SMALLEST_SCALE = 1.2e-38;

/** Between float32 and 8 bits with one scale per 256 elements (arXiv 2110.02861), for tensors of any shape. */
export interface BlockwiseCoder {
  /** Nearest codes; of two equally near the lower. A block of zeros has scale 0. */
  encode(x: Tensor): BlockwiseCodes;
  decode(packed: BlockwiseCodes): Tensor;
}

/** A coder with the levels of `dynamicMap(kind)`. One serves a whole graph, which then holds its tables once. */
export function blockwiseCoder(kind: DynamicMapKind): BlockwiseCoder {
  const levels = tensor(dynamicMap(kind));
  const nearest = nearestLevel(kind);
  return {
    encode(x) {
      const blocks = toBlocks(x);
      const scales = blocks.abs().max(1, { keepDims: true });
      const codes = nearest(blocks.mul(scales.maximum(SMALLEST_SCALE).reciprocal())).cast('uint8');
      return { codes: fromBlocks(codes, x.shape), scales: scales.reshape([scales.size]) };
    },
    decode({ codes, scales }) {
      const values = lookUp(levels, toBlocks(codes).cast('int32'));
      return fromBlocks(values.mul(scales.reshape([scales.size, 1])), codes.shape);
    },
  };
}

/** Cells that [0, 1] is cut into, evenly in the square root, so that none holds two middles between levels. */
const CELLS = 16_384;
/** For the rounding of the root, in cells. */
const MARGIN = 0.01;

/**
 * The index of the nearest level, int32, for numbers of [-1, 1] or [0, 1]. The cell of a number says how many middles
 * between levels are surely below it, and at most one more can be.
 */
function nearestLevel(kind: DynamicMapKind): (x: Tensor) => Tensor {
  const map = dynamicMap(kind);
  const middles = Float32Array.from({ length: 256 }, (_, i) => (i < 255 ? (map[i]! + map[i + 1]!) / 2 : 2));
  const first = kind === 'signed' ? -CELLS : 0;
  // Casts truncate, so cell -c begins at -c - 1.
  const lowerEdge = (cell: number) =>
    Math.sign(cell) * ((Math.abs(cell) + (cell > 0 ? -MARGIN : 1 + MARGIN)) / CELLS) ** 2;
  const surelyBelow = Int32Array.from({ length: CELLS - first + 1 }, (_, i) =>
    middles.findIndex((middle) => middle >= lowerEdge(first + i)),
  );
  const [table, bounds] = [tensor(surelyBelow), tensor(middles)];
  return (x) => {
    const root = (kind === 'signed' ? x.abs() : x).sqrt().mul(CELLS);
    const cell = kind === 'signed' ? root.mul(x.sign()).cast('int32').add(CELLS) : root.cast('int32');
    const count = lookUp(table, cell);
    return count.add(lookUp(bounds, count).less(x).cast('int32'));
  };
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

/** A number of a vector for every index: on a CPU several times faster than `gather`, which copies slices. */
const lookUp = (vector: Tensor, indices: Tensor): Tensor =>
  vector.takeAlongAxis(indices.reshape([indices.size]), 0).reshape(indices.shape);
