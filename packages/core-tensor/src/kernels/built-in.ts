import type { GraphKernel } from '../graph/ops.js';
import { geluKernel, siluKernel } from './activations.js';
import { graphKernelOf } from './apply-kernel.js';
import { attentionKernel, cachedAttentionKernel } from './attention.js';
import { flashAttentionKernel } from './flash-attention.js';
import { flashAttentionGradientKernel } from './flash-attention-gradient.js';
import { int4DequantizeKernel, int4MatmulKernel } from './int4-matmul.js';
import { int8DequantizeKernel, int8MatmulKernel } from './int8-matmul.js';
import type { Kernel } from './kernel.js';
import { nf4DequantizeKernel, nf4MatmulKernel } from './nf4-matmul.js';
import { layerNormKernel, rmsNormKernel } from './norms.js';
import { putRowsKernel } from './put-rows.js';
import { rotaryKernel } from './rotary.js';
import { logSoftmaxKernel, softmaxKernel } from './softmax.js';
import { swigluKernel } from './swiglu.js';
import { tokenLogProbsKernel } from './token-log-probs.js';

/** The fused kernels of this package. */
export const BUILT_IN_KERNELS: readonly Kernel<never>[] = [
  attentionKernel,
  cachedAttentionKernel,
  flashAttentionKernel,
  flashAttentionGradientKernel,
  geluKernel,
  int4DequantizeKernel,
  int4MatmulKernel,
  int8DequantizeKernel,
  int8MatmulKernel,
  layerNormKernel,
  logSoftmaxKernel,
  nf4DequantizeKernel,
  nf4MatmulKernel,
  putRowsKernel,
  rmsNormKernel,
  rotaryKernel,
  siluKernel,
  softmaxKernel,
  swigluKernel,
  tokenLogProbsKernel,
];

let known: ReadonlySet<GraphKernel> | undefined;

/** Whether a kernel is one of this package, whatever others call theirs: its name and config then say what it computes. */
export function isBuiltIn(kernel: GraphKernel): boolean {
  known ??= new Set(BUILT_IN_KERNELS.map((one) => graphKernelOf(one)));
  return known.has(kernel);
}
