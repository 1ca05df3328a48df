export * from './autodiff/barrier.js';
export * from './autodiff/checkpoint.js';
export * from './autodiff/grad.js';
export { type Compiled, type CompileFunctionOptions, compile } from './compile.js';
export * from './create.js';
export { DTYPES, type DType, type TypedArray } from './dtype.js';
export { currentEngine, setEngine, withEngine } from './engines/current.js';
export type { CompileOptions, Donation, Engine, EngineBuffer, Executable } from './engines/engine.js';
export { type OnnxruntimeEngineOptions, onnxruntimeEngine } from './engines/onnxruntime/engine.js';
export { referenceEngine } from './engines/reference/engine.js';
export * from './errors.js';
export type { Graph, GraphNode, OpAttributes, OpName, Storage, TensorSpec, Value } from './graph/node.js';
export * from './half-precision.js';
export * from './io/index.js';
export * from './kernels/activations.js';
export { applyKernel } from './kernels/apply-kernel.js';
export * from './kernels/attention.js';
export * from './kernels/cross-entropy.js';
export type { Kernel } from './kernels/kernel.js';
export * from './kernels/norms.js';
export * from './kernels/rotary.js';
export * from './kernels/softmax.js';
export * from './kernels/token-log-probs.js';
export * from './optim/adamw.js';
export * from './optim/clip.js';
export type { Named, Optimizer } from './optim/optimizer.js';
export { mapNamed } from './optim/optimizer.js';
export * from './optim/schedules.js';
export * from './optim/sgd.js';
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
