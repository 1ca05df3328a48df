import type { Tensor } from '../tensor.js';
import { INT8_ZERO, roundHalfEven } from './int8-matmul.js';

/** Rows in 8 bits: `codes` uint8 [..., d] (signed code + 128), and for each row what a code of 1 stands for, float32 [..., 1]. */
export interface Int8Rows {
  readonly codes: Tensor;
  readonly scales: Tensor;
}

/**
 * Each row of x [..., d] as whole multiples of its largest |x| / 127, the nearest ones: off by at most half of that, 1/254 of the row's
 * largest (LLM.int8()'s row-wise absmax, arXiv 2208.07339). A row of zeros stays one.
 */
export function toInt8Rows(x: Tensor): Int8Rows {
  const wide = x.cast('float32');
  const scales = wide
    .abs()
    .max(-1, { keepDims: true })
    .mul(1 / 127);
  const rounded = roundHalfEven(wide.div(scales.maximum(1e-30)))
    .minimum(127)
    .maximum(-127);
  return { codes: rounded.add(INT8_ZERO).cast('uint8'), scales };
}

/** What codes [..., d] with scales [..., 1] stand for, in float32. */
export const fromInt8Rows = ({ codes, scales }: Int8Rows): Tensor => codes.cast('float32').sub(INT8_ZERO).mul(scales);
