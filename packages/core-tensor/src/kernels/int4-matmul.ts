import { barrier } from '../autodiff/barrier.js';
import { customVjp } from '../autodiff/grad.js';
import { tensor } from '../create.js';
import { DTypeError, ShapeError } from '../errors.js';
import type { TensorSpec } from '../graph/node.js';
import type { Int4Format } from '../quantization/quantized-weight.js';
import { sameShape } from '../shape.js';
import { stack, type Tensor, where } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { checkFloats } from './check.js';
import { roundHalfEven } from './int8-matmul.js';
import type { Kernel } from './kernel.js';
import { productSpec } from './nf4-matmul.js';

/** The shape of an int4 weight, the size of its blocks, and what products round their inputs to. */
export type Int4Layout = Pick<Int4Format, 'shape' | 'blockSize' | 'activations'>;

/** The code of zero where there are no zero points. */
const MIDDLE = 8;

const nibbles = tensor(
  Float32Array.from({ length: 16 }, (_, i) => i),
  [16],
);

/** uint8 bytes as the two numbers in each, the low half first: a new last axis twice as long. */
function unpack(bytes: Tensor): Tensor {
  const square = [16, 16];
  const [high, low] = [nibbles.reshape([16, 1]).broadcastTo(square), nibbles.reshape([1, 16]).broadcastTo(square)];
  const pairs = stack([low, high], 2).reshape([256, 2]);
  return pairs.gather(bytes.cast('int32')).reshape([...bytes.shape.slice(0, -1), 2 * bytes.shape.at(-1)!]);
}

/** Inputs are the parts of a weight as `int4Matmul` has them; output (code - zero) · scale, float32 [out, in]. No gradients. */
export const int4DequantizeKernel: Kernel<Pick<Int4Layout, 'shape' | 'blockSize'>> = {
  name: 'int4Dequantize',
  infer: (parts, layout) => {
    checkParts('int4Dequantize', parts, layout);
    return [{ shape: layout.shape, dtype: 'float32' }];
  },
  decompose: ([codes, scales, zeroPoints], { shape }) => {
    const [rows, blocks] = codes!.shape as [number, number];
    const zeros = zeroPoints?.dtype === 'uint8' ? unpack(zeroPoints).slice(1, 0, blocks) : zeroPoints;
    const zero = zeros?.reshape([rows, blocks, 1]) ?? MIDDLE;
    const values = unpack(codes!)
      .sub(zero)
      .mul(scales!.reshape([rows, blocks, 1]));
    return [values.reshape([rows, values.size / rows]).slice(1, 0, shape[1]!)];
  },
  vjp: ({ inputs }) => inputs.map(() => undefined),
};

/** The weight [out, in] that block-wise 4-bit integers stand for: (code - zero) · scale, in float32. */
export const int4Dequantize = (
  parts: readonly Tensor[],
  { shape, blockSize }: Pick<Int4Layout, 'shape' | 'blockSize'>,
): Tensor => applyKernel(int4DequantizeKernel, parts, { shape, blockSize })[0]!;

function checkParts(
  name: string,
  [codes, scales, zeroPoints]: readonly TensorSpec[],
  { shape, blockSize }: Pick<Int4Layout, 'shape' | 'blockSize'>,
): void {
  const others: TensorSpec[] = zeroPoints ? [scales!, zeroPoints] : [scales!];
  const isNumber = zeroPoints?.dtype === 'float32';
  if (
    codes!.dtype !== 'uint8' ||
    scales!.dtype !== 'float32' ||
    !['uint8', 'float32', undefined].includes(zeroPoints?.dtype)
  ) {
    const dtypes = [codes!, ...others].map(({ dtype }) => dtype);
    throw new DTypeError(name, dtypes, 'needs uint8 codes, float32 scales, and zero points of one or the other');
  }
  const blocks = Math.ceil(shape[1]! / blockSize);
  const fits =
    sameShape(codes!.shape, [shape[0]!, blocks, blockSize / 2]) &&
    sameShape(scales!.shape, [shape[0]! * blocks]) &&
    (!zeroPoints || sameShape(zeroPoints.shape, isNumber ? [shape[0]! * blocks] : [shape[0]!, Math.ceil(blocks / 2)]));
  if (fits) return;
  const shapes = [shape, ...[codes!, ...others].map((part) => part.shape)];
  throw new ShapeError(name, shapes, `the weight's parts do not fit blocks of ${blockSize}`);
}

/** x [rows, in] with each block of a row rounded to whole multiples, of 127 at most, of its largest |x| / 127. */
function roundedToInt8(x: Tensor, blockSize: number): Tensor {
  const [rows, width] = x.shape as [number, number];
  const blocks = Math.ceil(width / blockSize);
  const apart = x.pad(1, 0, blocks * blockSize - width).reshape([rows, blocks, blockSize]);
  const largest = apart.abs().max(2, { keepDims: true });
  const codes = roundHalfEven(apart.mul(where(largest.equal(0), 0, largest.reciprocal().mul(127))));
  return codes
    .mul(largest.mul(1 / 127))
    .reshape([rows, blocks * blockSize])
    .slice(1, 0, width);
}

/**
 * x [..., in] as `int4Matmul` reads it beside such a weight: as it is, or rounded. For products with the weight that the
 * codes stand for which are to agree with `int4Matmul`'s. Rounding counts as the identity for gradients, as there.
 */
export function int4Inputs(x: Tensor, { blockSize, activations }: Omit<Int4Layout, 'shape'>): Tensor {
  if (activations === 'float32' || x.size === 0) return x;
  const width = x.shape.at(-1)!;
  const rounded = (rows: Tensor) => [
    roundedToInt8(rows.reshape([x.size / width, width]).cast('float32'), blockSize)
      .reshape(x.shape)
      .cast(x.dtype),
  ];
  return customVjp(rounded, ({ cotangents }) => cotangents)(x)[0]!;
}

/**
 * Inputs x [rows, in]; codes uint8 [out, blocks, blockSize / 2], scales float32 [out · blocks] and perhaps zero points
 * (uint8 [out, ceil(blocks / 2)], or float32 [out · blocks]) of a weight W [out, in], in the layout of ONNX Runtime's MatMulNBits; output x · Wᵀ
 * [rows, out]. With `activations` `int8`, x is rounded first: see `Int4Activations`. Only x has a gradient, dy · W: rounding
 * counts as the identity.
 */
export const int4MatmulKernel: Kernel<Int4Layout> = {
  name: 'int4Matmul',
  infer: ([x, ...parts], layout) => {
    checkFloats('int4Matmul', x!);
    checkParts('int4Matmul', parts, layout);
    return [productSpec('int4Matmul', x!, layout.shape)];
  },
  decompose: ([x, ...parts], layout) => {
    const weight = int4Dequantize(parts, layout);
    if (layout.activations === 'float32' || x!.size === 0) {
      return [x!.matmul(weight.cast(x!.dtype), { transposeB: true })];
    }
    const rounded = roundedToInt8(x!.cast('float32'), layout.blockSize);
    return [rounded.matmul(weight, { transposeB: true }).cast(x!.dtype)];
  },
  vjp: ({ inputs: [, ...parts], cotangents: [dy], config }) => {
    // Dequantised again, once dy is there: see `nf4Matmul`.
    const [codes, ...others] = parts;
    const weight = int4Dequantize([barrier(codes!, [dy!]), ...others], config);
    const dx = dy!.matmul(weight.cast(dy!.dtype));
    return [dx, ...parts.map(() => undefined)];
  },
};

/** x [rows, in] · Wᵀ for block-wise 4-bit integers: `parts` are codes, scales and perhaps zero points. */
export const int4Matmul = (
  x: Tensor,
  parts: readonly Tensor[],
  { shape, blockSize, activations }: Int4Layout,
): Tensor => applyKernel(int4MatmulKernel, [x, ...parts], { shape, blockSize, activations })[0]!;
