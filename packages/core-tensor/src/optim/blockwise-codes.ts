import { tensor, zeros } from '../create.js';
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
  const map = dynamicMap(kind);
  const levels = tensor(map);
  const middles = tensor(Float32Array.from({ length: 255 }, (_, i) => (map[i]! + map[i + 1]!) / 2));
  return {
    encode(x) {
      const blocks = toBlocks(x);
      const scales = blocks.abs().max(1, { keepDims: true });
      const codes = countBelow(middles, blocks.div(scales.maximum(SMALLEST_SCALE))).cast('uint8');
      return { codes: fromBlocks(codes, x.shape), scales: scales.reshape([scales.size]) };
    },
    decode({ codes, scales }) {
      const values = levels.gather(toBlocks(codes).cast('int32'));
      return fromBlocks(values.mul(scales.reshape([scales.size, 1])), codes.shape);
    },
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

/** How many of 255 ascending numbers are below x, int32, by eight halvings. */
function countBelow(ascending: Tensor, x: Tensor): Tensor {
  let count = zeros(x.shape, 'int32');
  for (let half = 128; half >= 1; half /= 2) {
    const isMore = ascending.gather(count.add(half - 1)).less(x);
    count = count.add(isMore.cast('int32').mul(half));
  }
  return count;
}
