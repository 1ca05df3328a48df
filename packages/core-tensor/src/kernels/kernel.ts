import type { TensorSpec } from '../graph/node.js';
import type { Tensor } from '../tensor.js';

/**
 * A fused operation. It always has a decomposition into primitives, so it runs on every engine from the day it is
 * written; an engine overrides it by putting its lowering in its own kernel table under the same name.
 *
 * `Config` holds plain JSON data only: it is part of the structural identity of the graph.
 */
export interface Kernel<Config> {
  readonly name: string;
  /** Output specs; throws `ShapeError` or `DTypeError` naming the kernel. */
  infer(inputs: readonly TensorSpec[], config: Config): readonly TensorSpec[];
  /**
   * The same function written in primitives: the definition of what the kernel computes. `wanted` says which outputs
   * anybody reads (left out: all), for decompositions that put their parts into an order; the others are dropped.
   */
  decompose(inputs: readonly Tensor[], config: Config, wanted?: readonly boolean[]): readonly Tensor[];
  /**
   * Cotangents of the inputs (undefined: none). Left out, the decomposition is differentiated.
   * A cotangent is undefined for an output that nothing depends on.
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
