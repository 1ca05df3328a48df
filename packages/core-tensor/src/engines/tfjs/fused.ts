import type { GraphNode, TensorSpec } from '../../graph/node.js';
import type { KernelScope } from './scope.js';
import type { KernelAttribute, KernelInputs, StorageArray, TfjsKernelTensor } from './tfjs.js';

/** What a forward for this engine sees: `lower.tfjs` of an operation made by `defineOp`. */
export interface TfjsForwardContext<Config> {
  /** float16 and bfloat16 are float32, int8 and uint8 are int32; results are taken as such, and rounded or wrapped. */
  readonly inputs: readonly TfjsKernelTensor[];
  /** What is to be computed; at least one of them is not empty. */
  readonly outputs: readonly TensorSpec[];
  readonly config: Config;
  /** Calls a kernel of TensorFlow.js by its registered name (`BatchMatMul`); what is not returned is freed afterwards. */
  run(
    kernel: string,
    inputs: KernelInputs,
    attributes?: Readonly<Record<string, KernelAttribute>>,
  ): readonly TfjsKernelTensor[];
  /** Host memory as a float32, int32 or bool tensor, freed afterwards unless it is returned. */
  upload(values: StorageArray, shape: readonly number[]): TfjsKernelTensor;
}

/** Computes an operation with kernels of TensorFlow.js; returns one tensor an output. */
export type TfjsForward<Config = undefined> = (context: TfjsForwardContext<Config>) => readonly TfjsKernelTensor[];

/** The fused kernels that every backend has; all others run as their decompositions. */
const own: Readonly<Record<string, TfjsForward<never>>> = {
  softmax: ({ inputs: [logits], run }) => run('Softmax', { logits: logits! }, { dim: logits!.shape.length - 1 }),
};

export const ownKernels: ReadonlySet<string> = new Set(Object.keys(own));

/** Computes a fused kernel: one of the engine's own, or by the forward that the kernel brings for this engine. */
export function runFused(
  scope: KernelScope,
  { attributes: { kernel, config }, outputs }: GraphNode<'kernel'>,
  inputs: readonly TfjsKernelTensor[],
): readonly TfjsKernelTensor[] {
  const forward = own[kernel.name] ?? (kernel.lower?.tfjs as TfjsForward<never>);
  return forward({
    inputs,
    outputs,
    config: config as never,
    run: (...call) => scope.runAll(...call),
    upload: (...call) => scope.upload(...call),
  });
}
