import type { DType } from '../../dtype.js';
import type { OnnxType } from './proto.js';

/** The element type of a value inside ONNX. bfloat16 values live in float32, rounded, for want of CPU kernels. */
export const onnxTypeOf = (dtype: DType): Exclude<OnnxType, 'bfloat16'> & DType =>
  dtype === 'bfloat16' ? 'float32' : dtype;

export const inputName = (index: number): string => `input${index}`;
export const outputName = (index: number): string => `output${index}`;
