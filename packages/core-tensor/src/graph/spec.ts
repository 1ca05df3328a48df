import type { DType } from '../dtype.js';
import { type Shape, sameShape } from '../shape.js';

/** Shape and element type of one tensor. */
export interface TensorSpec {
  readonly shape: Shape;
  readonly dtype: DType;
}

export const sameSpec = (a: TensorSpec, b: TensorSpec): boolean =>
  a === b || (a.dtype === b.dtype && sameShape(a.shape, b.shape));
