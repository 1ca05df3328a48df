import type { GraphNode, OpName } from '../../graph/node.js';
import type { KernelScope } from './scope.js';
import type { TfjsKernelTensor } from './tfjs.js';

/**
 * Computes one primitive with the kernels of a backend, on tensors of the storage types. No input and no output is
 * empty: the engine answers those cases itself. Rounding to 16-bit floats and wrapping of small integers follow.
 */
export type Rule<Name extends OpName> = (
  scope: KernelScope,
  node: GraphNode<Name>,
  inputs: readonly TfjsKernelTensor[],
) => TfjsKernelTensor | readonly TfjsKernelTensor[];

/** A rule for primitives without attributes that matter. */
export type PlainRule = (
  scope: KernelScope,
  node: GraphNode,
  inputs: readonly TfjsKernelTensor[],
) => TfjsKernelTensor | readonly TfjsKernelTensor[];

export type Rules = { readonly [Name in OpName]?: Rule<Name> };
