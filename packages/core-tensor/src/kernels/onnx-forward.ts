import type { TensorSpec } from '../graph/spec.js';

/** A whole number is an int attribute; other floats must say so. */
type OnnxAttributeLiteral =
  | number
  | readonly number[]
  | string
  | { readonly float: number }
  | { readonly floats: readonly number[] };

/** The attributes of an ONNX node, by name. */
export type OnnxAttributes = Readonly<Record<string, OnnxAttributeLiteral>>;

/** A value of the ONNX graph that is being written: its name there, and what it holds. */
export interface OnnxOperand extends TensorSpec {
  readonly name: string;
}

/**
 * What an `onnxruntime` forward sees. float16 and bfloat16 operands are given as float32, int8 and uint8 as int32, and
 * results are taken as such: they are rounded to their dtypes afterwards. Operands are never empty.
 */
export interface OnnxForwardContext<Config> {
  readonly inputs: readonly OnnxOperand[];
  /** What is to be computed. */
  readonly outputs: readonly TensorSpec[];
  readonly config: Config;
  /**
   * Adds a node and gives the names of its outputs. Attributes: a whole number is an int, an array of them ints; write
   * floats as `{ float: x }` or `{ floats: […] }`. Domain: `''` (ONNX, opset 21) or `com.microsoft`.
   */
  op(
    type: string,
    inputs: readonly string[],
    options?: { readonly attributes?: OnnxAttributes; readonly outputs?: number; readonly domain?: string },
  ): readonly string[];
  /** Adds a constant and gives its name; int64 is what ONNX wants shapes, axes and positions in. */
  constant(type: 'float32' | 'int32' | 'int64' | 'bool', shape: readonly number[], values: ArrayLike<number>): string;
}

/** Writes ONNX nodes for an operation; returns the name of each output. */
export type OnnxForward<Config> = (context: OnnxForwardContext<Config>) => readonly string[];
