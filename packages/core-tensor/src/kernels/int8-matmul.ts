import { barrier } from '../autodiff/barrier.js';
import { DTypeError, ShapeError } from '../errors.js';
import type { Int8Format } from '../quantization/quantized-weight.js';
import { sameShape } from '../shape.js';
import { type Tensor, where } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { checkFloats } from './check.js';
import type { Kernel } from './kernel.js';

/** What an 8-bit code of zero is stored as. */
export const INT8_ZERO = 128;

/** Terms of a sum of products of two 8-bit codes that float32 holds exactly: 127 · 127 · 1024 < 2²⁴. */
const EXACT_TERMS = 1024;

/** What a product with an int8 weight is compiled for. */
export type Int8MatmulConfig = Pick<Int8Format, 'threshold'>;

/** The nearest whole number; of two equally near, the even one. */
export function roundHalfEven(x: Tensor): Tensor {
  const up = x.add(0.5).floor();
  const half = up.mul(0.5);
  const isOdd = half.notEqual(half.floor());
  return where(up.sub(x).equal(0.5).and(isOdd), up.sub(1), up);
}

/** Codes uint8 as signed float numbers. */
const signed = (codes: Tensor): Tensor => codes.cast('float32').sub(INT8_ZERO);

/** Σ of products of whole numbers of 8 bits, added up in int32: [rows, in] · [in, out]. */
function integerProduct(a: Tensor, b: Tensor): Tensor {
  const width = a.shape[1]!;
  const parts = Array.from({ length: Math.ceil(width / EXACT_TERMS) }, (_, i) => {
    const [start, end] = [i * EXACT_TERMS, Math.min((i + 1) * EXACT_TERMS, width)];
    return a
      .slice(1, start, end)
      .matmul(b.slice(0, start, end))
      .cast('int32');
  });
  return parts.reduce((sum, part) => sum.add(part));
}

/**
 * LLM.int8() (arXiv 2208.07339): inputs x [rows, in], codes uint8 [in, out] (signed code + 128) and scales float32 [out];
 * output x · Wᵀ [rows, out] with W = (code - 128) · scale / 127.
 *
 * Each row of x is divided by its largest |x| below the threshold and rounded to 8 bits; columns in which some |x|
 * reaches the threshold are left out of that and multiplied as they are. Integer products are added up in int32.
 * Only x has a gradient, dy · W: rounding counts as the identity.
 */
export const int8MatmulKernel: Kernel<Int8MatmulConfig> = {
  name: 'int8Matmul',
  infer: ([x, codes, scales]) => {
    checkFloats('int8Matmul', x!);
    if (codes!.dtype !== 'uint8' || scales!.dtype !== 'float32') {
      throw new DTypeError('int8Matmul', [codes!.dtype, scales!.dtype], 'needs uint8 codes and float32 scales');
    }
    const [inFeatures, outFeatures] = codes!.shape;
    const fits = x!.shape.length === 2 && x!.shape[1] === inFeatures && scales!.shape[0] === outFeatures;
    if (!fits || codes!.shape.length !== 2 || scales!.shape.length !== 1) {
      throw new ShapeError(
        'int8Matmul',
        [x!.shape, codes!.shape, scales!.shape],
        'needs [rows, in], [in, out] and [out]',
      );
    }
    return [{ shape: [x!.shape[0]!, outFeatures!], dtype: x!.dtype }];
  },
  decompose: ([given, codes, scales], { threshold }) => {
    const x = given!.cast('float32');
    if (x.size === 0) return [given!.matmul(codes!.cast(given!.dtype))];
    const weight = signed(codes!);
    const isLarge = x.abs().greaterEqual(threshold);
    const regular = threshold > 0 ? where(isLarge, 0, x) : x;
    const largest = regular.abs().max(1, { keepDims: true });
    const rounded = roundHalfEven(regular.mul(where(largest.equal(0), 0, largest.reciprocal().mul(127))));
    const hasLarge = isLarge.cast('float32').max(0, { keepDims: true }).greater(0);
    const kept = threshold > 0 ? where(hasLarge, 0, rounded) : rounded;
    const unit = scales!.mul(1 / 127);
    const whole = integerProduct(kept, weight)
      .cast('float32')
      .mul(largest.mul(1 / 127))
      .mul(unit);
    if (threshold === 0) return [whole.cast(given!.dtype)];
    const outliers = where(hasLarge, x, 0).matmul(weight).mul(unit);
    return [whole.add(outliers).cast(given!.dtype)];
  },
  vjp: ({ inputs: [, codes, scales], cotangents: [dy] }) => {
    // Dequantised again, once dy is there: see `nf4Matmul`.
    const dx = dy!.cast('float32').matmul(int8Dequantize(barrier(codes!, [dy!]), scales!));
    return [dx.cast(dy!.dtype), undefined, undefined];
  },
};

/** x [rows, in] · Wᵀ by LLM.int8(): codes uint8 [in, out] of zero 128, scales float32 [out]. */
export const int8Matmul = (x: Tensor, codes: Tensor, scales: Tensor, { threshold }: Int8MatmulConfig): Tensor =>
  applyKernel(int8MatmulKernel, [x, codes, scales], { threshold })[0]!;

/** Inputs codes uint8 [in, out] and scales float32 [out]; output (code - 128) · scale / 127, float32 [out, in]. No gradients. */
export const int8DequantizeKernel: Kernel<Record<string, never>> = {
  name: 'int8Dequantize',
  infer: ([codes, scales]) => {
    if (codes!.dtype !== 'uint8' || scales!.dtype !== 'float32') {
      throw new DTypeError('int8Dequantize', [codes!.dtype, scales!.dtype], 'needs uint8 codes and float32 scales');
    }
    if (codes!.shape.length !== 2 || !sameShape(scales!.shape, codes!.shape.slice(1))) {
      throw new ShapeError('int8Dequantize', [codes!.shape, scales!.shape], 'needs [in, out] and [out]');
    }
    return [{ shape: [...codes!.shape].reverse(), dtype: 'float32' }];
  },
  decompose: ([codes, scales]) => [
    signed(codes!)
      .mul(scales!.mul(1 / 127))
      .transpose(),
  ],
  vjp: () => [undefined, undefined],
};

/** The weight [out, in] that 8-bit codes stand for. */
export const int8Dequantize = (codes: Tensor, scales: Tensor): Tensor =>
  applyKernel(int8DequantizeKernel, [codes, scales], {})[0]!;
