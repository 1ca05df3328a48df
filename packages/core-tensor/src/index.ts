export * from './autodiff/barrier.js';
export * from './autodiff/checkpoint.js';
export * from './autodiff/grad.js';
export * from './autodiff/hessian-vector-product.js';
export * from './autodiff/jvp.js';
export { type Compiled, type CompileFunctionOptions, compile } from './compile.js';
export * from './create.js';
export * from './device.js';
export * from './diagnose/find-non-finite.js';
export { DTYPES, type DType, type TypedArray } from './dtype.js';
export { currentEngine, setEngine, withEngine } from './engines/current.js';
export type { CompileOptions, Donation, Engine, EngineBuffer, Executable } from './engines/engine.js';
export type { DeviceMemoryUse } from './engines/onnxruntime/device-memory.js';
export {
  type OnnxruntimeEngine,
  type OnnxruntimeEngineOptions,
  onnxruntimeEngine,
} from './engines/onnxruntime/engine.js';
export type { OnnxForward, OnnxForwardContext, OnnxOperand } from './engines/onnxruntime/lower-custom.js';
export type { NodeAssignment } from './engines/onnxruntime/native/session.js';
export type { OnnxruntimeDevice } from './engines/onnxruntime/providers.js';
export { referenceEngine } from './engines/reference/engine.js';
export * from './errors.js';
export * from './export/export-onnx.js';
export type { OnnxFunction, OnnxOperators, OnnxTensorInfo } from './export/trace-onnx.js';
export type { Graph, GraphNode, OpAttributes, OpName, Storage, TensorSpec, Value } from './graph/node.js';
export { nameScope } from './graph/node.js';
export * from './half-precision.js';
export * from './io/index.js';
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
export * from './kernels/int4-matmul.js';
export * from './kernels/int8-matmul.js';
export type { HostForward, HostTensor, Kernel, KernelLowerings } from './kernels/kernel.js';
export * from './kernels/nf4-matmul.js';
export * from './kernels/norms.js';
export * from './kernels/paged-attention.js';
export { putRows } from './kernels/put-rows.js';
export * from './kernels/rotary.js';
export { type SelfAttentionOptions, selfAttention } from './kernels/self-attention.js';
export * from './kernels/softmax.js';
export { swiglu } from './kernels/swiglu.js';
export * from './kernels/token-log-probs.js';
export {
  bipartiteSoftMatching,
  proportionalAttentionBias,
  type TokenMerging,
  type TokenMergingOptions,
} from './kernels/token-merging.js';
export * from './kv-blocks.js';
export * from './natural-gradient/conjugate-gradient.js';
export * from './natural-gradient/fisher-vector-product.js';
export * from './natural-gradient/natural-gradient.js';
export * from './optim/adafactor.js';
export * from './optim/adam.js';
export * from './optim/adamw.js';
export * from './optim/blockwise-codes.js';
export * from './optim/clip.js';
export * from './optim/eight-bit-states.js';
export * from './optim/galore.js';
export * from './optim/lion.js';
export * from './optim/loss-scaler.js';
export * from './optim/metric-schedules.js';
export * from './optim/muon.js';
export type { Named, Optimizer, ParameterFilter } from './optim/optimizer.js';
export { mapNamed } from './optim/optimizer.js';
export * from './optim/optimizers.js';
export * from './optim/parameter-groups.js';
export * from './optim/schedules.js';
export * from './optim/sgd.js';
export { leftSingularVectors } from './optim/singular-vectors.js';
export * from './quantization/index.js';
export * from './random/random.js';
export { realize } from './realize.js';
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
