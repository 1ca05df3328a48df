import { applyMany, type Tensor } from '../tensor.js';
import type { Kernel } from './kernel.js';

/** Applies a fused kernel: one node of the graph, whatever it decomposes into. */
export function applyKernel<Config>(kernel: Kernel<Config>, inputs: readonly Tensor[], config: Config): Tensor[] {
  return applyMany('kernel', inputs, { kernel: kernel as Kernel<never>, config });
}
