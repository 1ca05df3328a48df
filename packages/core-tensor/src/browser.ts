export * from './autodiff/barrier.js';
export * from './autodiff/checkpoint.js';
export * from './autodiff/grad.js';
export * from './autodiff/hessian-vector-product.js';
export * from './autodiff/jvp.js';
export { type Compiled, type CompileFunctionOptions, compile } from './compile.js';
export * from './create.js';
export * from './diagnose/find-non-finite.js';
export { DTYPES, type DType, type TypedArray } from './dtype.js';
export { compileSeconds } from './engines/compile-clock.js';
export { currentEngine, setEngine, withEngine } from './engines/current.js';
export type { CompileOptions, Donation, Engine, EngineBuffer, Executable } from './engines/engine.js';
export { perEngine } from './engines/per-engine.js';
export { referenceEngine } from './engines/reference/engine.js';
export * from './errors.js';
export type { Graph, GraphNode, OpAttributes, OpName, Storage, TensorSpec, Value } from './graph/node.js';
export { nameScope } from './graph/node.js';
export * from './half-precision.js';
export {
  gelu,
  geluTanh,
  logSigmoid,
  relu,
  silu,
  softCap,
  softplus,
} from './kernels/activations.js';
export { applyKernel } from './kernels/apply-kernel.js';
export {
  type AttentionConfig,
  type AttentionOptions,
  attention,
  attentionKernel,
  type CachedAttentionConfig,
  cachedAttention,
  cachedAttentionKernel,
} from './kernels/attention.js';
export { type AttentionMaskOptions, alibiBias, alibiSlopes, attentionBias } from './kernels/attention-mask.js';
export * from './kernels/cross-entropy.js';
export { defineOp, type Op } from './kernels/define-op.js';
export {
  type FlashAttentionConfig,
  type FlashAttentionOptions,
  flashAttention,
  flashAttentionKernel,
} from './kernels/flash-attention.js';
export type { HostForward, HostTensor, KernelLowerings } from './kernels/forwards.js';
export { fromInt8Rows, type Int8Rows, toInt8Rows } from './kernels/int8-rows.js';
export type { Kernel } from './kernels/kernel.js';
export * from './kernels/norms.js';
export type { OnnxForward, OnnxForwardContext, OnnxOperand } from './kernels/onnx-forward.js';
export * from './kernels/paged-attention.js';
export { putRows } from './kernels/put-rows.js';
export * from './kernels/rotary.js';
export { type SelfAttentionOptions, selfAttention } from './kernels/self-attention.js';
export * from './kernels/softmax.js';
export { swiglu } from './kernels/swiglu.js';
export * from './kernels/token-log-probs.js';
export * from './kv-blocks.js';
export * from './random/random.js';
export { type RealizeOptions, realize } from './realize.js';
export type { Shape } from './shape.js';
export {
  type Axes,
  addAlongAxis,
  concat,
  type Operand,
  type ReduceOptions,
  scatterAdd,
  stack,
  sumToShape,
  Tensor,
  where,
} from './tensor.js';
export { type Leaf, leavesOf, mapTree, withLeaves } from './tree.js';
