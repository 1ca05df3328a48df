import { type GraphNode, isOp, type OpName, specOf } from '../../graph/node.js';
import { threefryBits } from '../../random/threefry-bits.js';
import { sizeOf } from '../../shape.js';
import { elementwiseRules } from './elementwise.js';
import { runFused } from './fused.js';
import { onHost, roundOnHost } from './host.js';
import { indexingRules } from './indexing.js';
import { matmulRule } from './matmul.js';
import { movementRules } from './movement.js';
import { reductionRules } from './reductions.js';
import type { Rule, Rules } from './rule.js';
import type { KernelScope } from './scope.js';
import { storageTypeOf, type TfjsKernelTensor } from './tfjs.js';

const rules: Rules = {
  ...elementwiseRules,
  ...movementRules,
  ...reductionRules,
  ...indexingRules,
  matmul: matmulRule,
  // int32 has no unsigned shift among the kernels: the words are made on the host.
  randomBits: (scope, { outputs: [spec] }, [key]) =>
    scope.upload(threefryBits(key!.dataSync(), sizeOf(spec!.shape)), spec!.shape),
};

/** Results are elements of the inputs, so that the output's dtype holds them. */
const CHOOSES: ReadonlySet<OpName> = new Set<OpName>([
  'barrier',
  'reshape',
  'transpose',
  'broadcastTo',
  'slice',
  'concat',
  'gather',
  'takeAlongAxis',
  'putAlongAxis',
  'where',
  'max',
  'maximum',
  'minimum',
  'topK',
]);

/** Results that every float type holds when it holds the input; integers may leave their range. */
const KEEPS_PRECISION: ReadonlySet<OpName> = new Set<OpName>(['neg', 'abs', 'sign', 'floor']);

/** Evaluates one node on the backend. The outputs belong to the caller; everything else made on the way is freed. */
export function evaluate(
  scope: KernelScope,
  node: GraphNode,
  inputs: readonly TfjsKernelTensor[],
): readonly TfjsKernelTensor[] {
  try {
    const outputs = compute(scope, node, inputs)
      .map((x, i) => (CHOOSES.has(node.op) ? x : settle(scope, x, node, i)))
      // A rule may give an input back as it is.
      .map((x) => (scope.owns(x) ? x : scope.share(x)));
    scope.release(outputs);
    return outputs;
  } catch (error) {
    scope.release([]);
    throw error;
  }
}

function compute(
  scope: KernelScope,
  node: GraphNode,
  inputs: readonly TfjsKernelTensor[],
): readonly TfjsKernelTensor[] {
  if (node.outputs.every(({ shape }) => sizeOf(shape) === 0)) {
    return node.outputs.map(({ shape, dtype }) => {
      const empty = { float32: Float32Array, int32: Int32Array, bool: Uint8Array }[storageTypeOf(dtype)];
      return scope.upload(new empty(0), shape);
    });
  }
  if (isOp(node, 'kernel')) return runFused(scope, node, inputs);
  const rule = rules[node.op] as Rule<OpName> | undefined;
  // Kernels read past the end of an empty input, or refuse it.
  const isEmpty = node.inputs.some((input) => sizeOf(specOf(input).shape) === 0);
  return rule && !isEmpty ? [rule(scope, node, inputs)].flat() : onHost(scope, node, inputs);
}

/** Rounds or wraps what a kernel computed in the storage type to what the dtype can hold. */
function settle(scope: KernelScope, x: TfjsKernelTensor, node: GraphNode, output: number): TfjsKernelTensor {
  const { dtype } = node.outputs[output]!;
  if (dtype === 'float16' || dtype === 'bfloat16') {
    return KEEPS_PRECISION.has(node.op) ? x : roundOnHost(scope, x, dtype);
  }
  if (dtype === 'uint8') return scope.run('Mod', { a: x, b: scope.scalar(256, 'int32') });
  if (dtype !== 'int8') return x;
  const shifted = scope.run('Add', { a: x, b: scope.scalar(128, 'int32') });
  const wrapped = scope.run('Mod', { a: shifted, b: scope.scalar(256, 'int32') });
  return scope.run('Sub', { a: wrapped, b: scope.scalar(128, 'int32') });
}
