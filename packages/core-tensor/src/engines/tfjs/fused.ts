import type { GraphNode } from '../../graph/node.js';
import type { KernelScope } from './scope.js';
import type { TfjsKernelTensor } from './tfjs.js';

/** Computes a fused kernel with one of the backend's. */
export type FusedRule = (
  scope: KernelScope,
  node: GraphNode<'kernel'>,
  inputs: readonly TfjsKernelTensor[],
) => TfjsKernelTensor | readonly TfjsKernelTensor[];

/** The fused kernels that every backend has; all others run as their decompositions. */
export const fusedRules: Readonly<Record<string, FusedRule>> = {
  softmax: (scope, _, [logits]) => scope.run('Softmax', { logits: logits! }, { dim: logits!.shape.length - 1 }),
};
