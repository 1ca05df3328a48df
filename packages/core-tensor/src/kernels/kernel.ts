import type { DType, TypedArray } from '../dtype.js';
import type { OnnxForward } from '../engines/onnxruntime/lower-custom.js';
import type { TensorSpec } from '../graph/node.js';
import type { Shape } from '../shape.js';
import type { Tensor } from '../tensor.js';

/**
 * A fused operation, ours or somebody else's (`defineOp`). Three ways to compute it, tried in this order:
 *
 * 1. the lowering of the engine in use: the engine's own table by `name`, or `lower` by the engine's name;
 * 2. `decompose`: with it the operation runs on every engine from the day it is written;
 * 3. `lower.host`: plain TypeScript, on every engine, at the price of reading the inputs and uploading the outputs.
 *
 * `Config` holds plain JSON data only: it is part of the structural identity of the graph.
 */
export interface Kernel<Config> {
  readonly name: string;
  /** Output specs; throws `ShapeError` or `DTypeError` naming the kernel. */
  infer(inputs: readonly TensorSpec[], config: Config): readonly TensorSpec[];
  /**
   * The same function written in primitives. Where there is one, it is the definition of what the kernel computes.
   * `wanted` says which outputs anybody reads (left out: all), for decompositions that put their parts into an order; the
   * others are dropped.
   */
  decompose?(inputs: readonly Tensor[], config: Config, wanted?: readonly boolean[]): readonly Tensor[];
  /** Forwards for single engines, by the name of the engine, and `host` for all of them. */
  readonly lower?: KernelLowerings<Config>;
  /**
   * Cotangents of the inputs (undefined: none). Left out, the decomposition is differentiated; without either, the
   * kernel has no gradient. A cotangent is undefined for an output that nothing depends on.
   */
  vjp?(context: {
    readonly inputs: readonly Tensor[];
    readonly outputs: readonly Tensor[];
    readonly cotangents: readonly (Tensor | undefined)[];
    readonly config: Config;
    /** For each input, whether its cotangent is asked for. */
    readonly needed: readonly boolean[];
  }): readonly (Tensor | undefined)[];
}

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
