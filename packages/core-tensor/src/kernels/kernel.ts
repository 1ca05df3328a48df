import type { TensorSpec } from '../graph/spec.js';
import type { Tensor } from '../tensor.js';
import type { KernelLowerings } from './forwards.js';

/**
 * A fused operation, built-in or custom (`defineOp`). Three ways to compute it, tried in this order:
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
