import { type DType, isFloat } from '../../dtype.js';
import type { GraphNode } from '../../graph/node.js';
import { specOf } from '../../graph/node.js';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from '../../half-precision.js';
import { interpret } from '../reference/interpret.js';
import type { Values } from '../reference/strided.js';
import type { KernelScope } from './scope.js';
import { asFloat32, type StorageArray, type TfjsKernelTensor } from './tfjs.js';

/** Computes a primitive with the reference interpreter, in float64, where the backend has no kernel for it. */
export function onHost(scope: KernelScope, node: GraphNode, inputs: readonly TfjsKernelTensor[]): TfjsKernelTensor[] {
  const values = inputs.map((x, i) => toValues(x.dataSync() as StorageArray, specOf(node.inputs[i]!).dtype));
  return interpret(node, values).map((result, i) => {
    const { shape, dtype } = node.outputs[i]!;
    return scope.upload(fromValues(result, dtype), shape);
  });
}

function toValues(data: StorageArray, dtype: DType): Values {
  if (isFloat(dtype)) return Float64Array.from(data);
  if (dtype === 'int8') return Int8Array.from(data);
  return dtype === 'int32' ? Int32Array.from(data) : Uint8Array.from(data);
}

function fromValues(values: Values, dtype: DType): StorageArray {
  if (isFloat(dtype)) return Float32Array.from(values);
  return dtype === 'bool' ? Uint8Array.from(values) : Int32Array.from(values);
}

/** Rounds float32 numbers to a 16-bit float, to nearest even: no backend has a kernel that does. */
export function roundOnHost(scope: KernelScope, x: TfjsKernelTensor, dtype: 'float16' | 'bfloat16'): TfjsKernelTensor {
  const data = asFloat32(x.dataSync());
  const rounded =
    dtype === 'float16' ? float16ToFloat32(float32ToFloat16(data)) : bfloat16ToFloat32(float32ToBfloat16(data));
  return scope.upload(rounded, x.shape);
}
