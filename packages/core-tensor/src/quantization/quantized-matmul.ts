import { tensor } from '../create.js';
import { int4Dequantize, int4Matmul } from '../kernels/int4-matmul.js';
import { int8Dequantize, int8Matmul } from '../kernels/int8-matmul.js';
import { nf4Dequantize, nf4Matmul } from '../kernels/nf4-matmul.js';
import { concat, type Tensor } from '../tensor.js';
import { dynamicMap, NESTED_BLOCK_SIZE } from './dynamic-map.js';
import type { FourBitWeight, Int4Weight, QuantizedWeight } from './quantized-weight.js';

/** Most elements of a leaf that is written into a graph. */
const SMALL = 64;

/** The dynamic map in leaves so small that they are part of a graph and not inputs of it. */
const dynamicLevels = concat(
  Array.from({ length: 256 / SMALL }, (_, i) => tensor(dynamicMap().slice(i * SMALL, (i + 1) * SMALL), [SMALL])),
  0,
);

/** The scales in float32 [blocks]: codes · nested scale + offset where they are quantised themselves. */
function scalesOf({ parts }: FourBitWeight<Tensor>): Tensor {
  const { absmax, nestedAbsmax, nestedOffset } = parts;
  if (!nestedAbsmax || !nestedOffset) return absmax;
  const count = absmax.size;
  const blocks = nestedAbsmax.size;
  const levels = dynamicLevels.gather(absmax.reshape([count]).cast('int32'));
  const whole = levels.pad(0, 0, blocks * NESTED_BLOCK_SIZE - count).reshape([blocks, NESTED_BLOCK_SIZE]);
  const scaled = whole.mul(nestedAbsmax.reshape([blocks, 1])).reshape([blocks * NESTED_BLOCK_SIZE]);
  return scaled.slice(0, 0, count).add(nestedOffset);
}

const int4Parts = ({ parts: { codes, scales, zeroPoints } }: Int4Weight<Tensor>): Tensor[] =>
  zeroPoints ? [codes, scales, zeroPoints] : [codes, scales];

/**
 * x [..., in] · Wᵀ for a quantised weight W [out, in]: [..., out]. Only x has a gradient, that of a product with the
 * dequantised weight; of those no more than one is held at a time.
 *
 * @throws ShapeError or DTypeError when the parts do not fit the format, or x the weight
 */
export function quantizedMatmul(x: Tensor, weight: QuantizedWeight<Tensor>): Tensor {
  const width = x.shape.at(-1)!;
  const rows = x.reshape([width === 0 ? 0 : x.size / width, width]);
  return productOf(rows, weight).reshape([...x.shape.slice(0, -1), weight.shape[0]!]);
}

function productOf(rows: Tensor, weight: QuantizedWeight<Tensor>): Tensor {
  switch (weight.method) {
    case 'int8':
      return int8Matmul(rows, weight.parts.codes, weight.parts.scales, weight);
    case 'int4':
      return int4Matmul(rows, int4Parts(weight), weight);
    default:
      return nf4Matmul(rows, weight.parts.codes, scalesOf(weight), weight);
  }
}

/** The float32 weight [out, in] that the codes stand for, as a part of the graph. It has no gradient. */
export function dequantized(weight: QuantizedWeight<Tensor>): Tensor {
  switch (weight.method) {
    case 'int8':
      return int8Dequantize(weight.parts.codes, weight.parts.scales);
    case 'int4':
      return int4Dequantize(int4Parts(weight), weight);
    default:
      return nf4Dequantize(weight.parts.codes, scalesOf(weight), weight);
  }
}

/** The parts of a quantised weight as tensors. They share its memory: do not write to that afterwards. */
export function quantizedTensors<Weight extends QuantizedWeight>(weight: Weight): QuantizedWeight<Tensor> {
  const parts = Object.entries(weight.parts).map(([name, { data, shape, dtype }]) => [
    name,
    tensor(data, shape, dtype),
  ]);
  return { ...weight, parts: Object.fromEntries(parts) };
}
