import { barrier } from '../autodiff/barrier.js';
import { tensor } from '../create.js';
import { DTypeError, ShapeError } from '../errors.js';
import type { TensorSpec } from '../graph/node.js';
import { FOUR_BIT_LEVELS } from '../quantization/nf4.js';
import type { FourBitFormat } from '../quantization/quantized-weight.js';
import { type Shape, sizeOf } from '../shape.js';
import { stack, type Tensor } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { checkFloats } from './check.js';
import type { Kernel } from './kernel.js';

/** Layout of 4-bit codes with float32 scales: see `FourBitFormat`. */
export type FourBitLayout = Pick<FourBitFormat, 'method' | 'shape' | 'blockSize'>;

function checkCodes(name: string, { shape, blockSize }: FourBitLayout, codes: TensorSpec, absmax: TensorSpec): void {
  if (codes.dtype !== 'uint8' || absmax.dtype !== 'float32') {
    throw new DTypeError(name, [codes.dtype, absmax.dtype], 'needs uint8 codes and float32 scales');
  }
  const size = sizeOf(shape);
  const fits = sizeOf(codes.shape) === Math.ceil(size / 2) && sizeOf(absmax.shape) === Math.ceil(size / blockSize);
  if (shape.length !== 2 || !fits) {
    throw new ShapeError(
      name,
      [shape, codes.shape, absmax.shape],
      `codes and scales of the weight do not fit blocks of ${blockSize}`,
    );
  }
}

/** As leaves of a few elements the levels are written into a graph, and every layer's are the same ones. */
const levelLeaves = {
  nf4: tensor(FOUR_BIT_LEVELS.nf4.slice(), [16]),
  fp4: tensor(FOUR_BIT_LEVELS.fp4.slice(), [16]),
};

/** The two levels that each byte of codes stands for: [256, 2]. */
function levelPairs(method: FourBitLayout['method']): Tensor {
  const levels = levelLeaves[method];
  const square = [16, 16];
  const [high, low] = [levels.reshape([16, 1]).broadcastTo(square), levels.reshape([1, 16]).broadcastTo(square)];
  return stack([high, low], 2).reshape([256, 2]);
}

/** Inputs codes uint8, absmax float32 [blocks]; output level · scale, float32 [out, in]. No gradients. */
export const nf4DequantizeKernel: Kernel<FourBitLayout> = {
  name: 'nf4Dequantize',
  infer: ([codes, absmax], config) => {
    checkCodes('nf4Dequantize', config, codes!, absmax!);
    return [{ shape: config.shape, dtype: 'float32' }];
  },
  decompose: ([codes, absmax], { method, shape, blockSize }) => {
    const blocks = absmax!.size;
    const levels = levelPairs(method)
      .gather(codes!.reshape([codes!.size]).cast('int32'))
      .reshape([2 * codes!.size]);
    const whole = levels.pad(0, 0, blocks * blockSize - levels.size).reshape([blocks, blockSize]);
    const scaled = whole.mul(absmax!.reshape([blocks, 1])).reshape([blocks * blockSize]);
    return [scaled.slice(0, 0, sizeOf(shape)).reshape(shape)];
  },
  vjp: () => [undefined, undefined],
};

/** The weight that 4-bit codes stand for: level · scale, float32 [out, in]. `absmax` are float32 scales [blocks]. */
export const nf4Dequantize = (codes: Tensor, absmax: Tensor, layout: FourBitLayout): Tensor =>
  applyKernel(nf4DequantizeKernel, [codes, absmax], configOf(layout))[0]!;

const configOf = ({ method, shape, blockSize }: FourBitLayout): FourBitLayout => ({ method, shape, blockSize });

/**
 * Inputs x [rows, in], codes uint8 and absmax float32 [blocks] of a weight W [out, in] (QLoRA, arXiv 2305.14314); output
 * x · Wᵀ [rows, out]. Only x has a gradient, dy · W.
 */
export const nf4MatmulKernel: Kernel<FourBitLayout> = {
  name: 'nf4Matmul',
  infer: ([x, codes, absmax], config) => {
    checkFloats('nf4Matmul', x!);
    checkCodes('nf4Matmul', config, codes!, absmax!);
    return [productSpec('nf4Matmul', x!, config.shape)];
  },
  decompose: ([x, codes, absmax], layout) => [
    x!.matmul(nf4Dequantize(codes!, absmax!, layout).cast(x!.dtype), { transposeB: true }),
  ],
  vjp: ({ inputs: [, codes, absmax], cotangents: [dy], config }) => {
    // Rematerialisation: dequantised again once dy is there, or the weights of all layers would exist at once.
    const weight = nf4Dequantize(barrier(codes!, [dy!]), absmax!, config);
    return [dy!.matmul(weight.cast(dy!.dtype)), undefined, undefined];
  },
};

/** Rows x [rows, in] times a weight of this shape [out, in]: [rows, out]. */
export function productSpec(name: string, x: TensorSpec, shape: Shape): TensorSpec {
  if (x.shape.length !== 2 || x.shape[1] !== shape[1]) {
    throw new ShapeError(name, [x.shape, shape], 'needs rows [rows, in] and a weight [out, in]');
  }
  return { shape: [x.shape[0]!, shape[0]!], dtype: x.dtype };
}

/** x [rows, in] · Wᵀ for the weight W [out, in] of 4-bit codes and float32 scales [blocks]. */
export const nf4Matmul = (x: Tensor, codes: Tensor, absmax: Tensor, layout: FourBitLayout): Tensor =>
  applyKernel(nf4MatmulKernel, [x, codes, absmax], configOf(layout))[0]!;
