import type { DType, TypedArray } from '../dtype.js';
import type { Shape } from '../shape.js';
import type { OnnxForward } from './onnx-forward.js';

/**
 * Forwards by the name of the engine that runs them. An engine outside this package reads its own key and says, by a
 * type of its own, what it holds: `{ mine: ((context) => …) satisfies MyForward }`.
 */
export interface KernelLowerings<Config> {
  readonly host?: HostForward<Config>;
  readonly onnxruntime?: OnnxForward<Config>;
  readonly [engine: string]: unknown;
}

/** A tensor as a host function sees it: numbers in row-major order, never the raw bits of a 16-bit float. */
export interface HostTensor {
  readonly shape: Shape;
  readonly dtype: DType;
  /**
   * Float32Array for every float dtype (Float64Array on the reference engine), else the array of the dtype. It may be
   * the engine's own memory: do not write to it.
   */
  readonly data: Exclude<TypedArray, Uint16Array>;
}

/**
 * A forward in plain TypeScript: one array of numbers per output, in row-major order, rounded to the output's dtype.
 * It must be a pure function: equal applications of one graph run once.
 */
export type HostForward<Config> = (inputs: readonly HostTensor[], config: Config) => readonly ArrayLike<number>[];
