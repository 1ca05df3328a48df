import { specOf } from '../../graph/node.js';
import { sizeOf } from '../../shape.js';
import { splitAxis } from '../reference/strided.js';
import { onHost } from './host.js';
import type { Rules } from './rule.js';
import type { KernelScope } from './scope.js';
import type { TfjsKernelTensor } from './tfjs.js';

/** The primitives that write to, or read from, computed positions: as rows of a flattened tensor. */
export const indexingRules: Rules = {
  gather: (scope, node, [x, indices]) => {
    const { shape } = specOf(node.inputs[0]!);
    const { outer, size, inner } = splitAxis(shape, node.attributes.axis);
    const rows = scope.reshape(x!, [outer * size, inner]);
    const taken = scope.run('GatherNd', { params: rows, indices: rowPositions(scope, indices!, outer, size) });
    return scope.reshape(taken, node.outputs[0]!.shape);
  },
  scatterAdd: (scope, node, [indices, updates]) => {
    const { shape } = node.outputs[0]!;
    const { outer, size, inner } = splitAxis(shape, node.attributes.axis);
    const positions = rowPositions(scope, indices!, outer, size);
    const rows = scope.reshape(updates!, [positions.shape[0]!, inner]);
    const sums = scope.run('ScatterNd', { indices: positions, updates: rows }, { shape: [outer * size, inner] });
    return scope.reshape(sums, shape);
  },
  takeAlongAxis: (scope, node, [x, indices]) => {
    const { shape } = specOf(node.inputs[0]!);
    const positions = flatPositions(scope, indices!, node.attributes.axis, shape[node.attributes.axis]!);
    const flat = scope.reshape(x!, [sizeOf(shape), 1]);
    const taken = scope.run('GatherNd', { params: flat, indices: positions });
    return scope.reshape(taken, node.outputs[0]!.shape);
  },
  addAlongAxis: (scope, node, [indices, updates]) => {
    const { axis, size } = node.attributes;
    const { shape } = node.outputs[0]!;
    const positions = flatPositions(scope, indices!, axis, size);
    const count = positions.shape[0]!;
    const sums = scope.run(
      'ScatterNd',
      { indices: positions, updates: scope.reshape(updates!, [count]) },
      { shape: [sizeOf(shape)] },
    );
    return scope.reshape(sums, shape);
  },
  putAlongAxis: (scope, node, inputs) => {
    if (scope.hasGap('update in place')) return onHost(scope, node, inputs);
    const [x, indices, updates] = inputs;
    const { shape } = node.outputs[0]!;
    const positions = flatPositions(scope, indices!, node.attributes.axis, shape[node.attributes.axis]!);
    const count = positions.shape[0]!;
    const type = x!.dtype === 'bool' && scope.hasGap('bool elements') ? 'int32' : (x!.dtype as 'float32');
    const result = scope.run(
      'TensorScatterUpdate',
      {
        tensor: scope.reshape(scope.cast(x!, type), [sizeOf(shape)]),
        indices: positions,
        updates: scope.reshape(scope.cast(updates!, type), [count]),
      },
      {},
    );
    return scope.cast(scope.reshape(result, shape), x!.dtype as 'float32');
  },
};

/** For each of `outer` blocks of `size` rows, the rows that `indices` name: [outer · count, 1]. */
function rowPositions(scope: KernelScope, indices: TfjsKernelTensor, outer: number, size: number): TfjsKernelTensor {
  const count = sizeOf(indices.shape);
  if (outer === 1) return scope.reshape(indices, [count, 1]);
  const starts = Int32Array.from({ length: outer }, (_, o) => o * size);
  const rows = scope.run('Add', { a: scope.reshape(indices, [1, count]), b: scope.upload(starts, [outer, 1]) });
  return scope.reshape(rows, [outer * count, 1]);
}

/** Row-major positions of the elements that `indices` names along an axis of `size` rows: [number of indices, 1]. */
function flatPositions(scope: KernelScope, indices: TfjsKernelTensor, axis: number, size: number): TfjsKernelTensor {
  const { outer, size: count, inner } = splitAxis(indices.shape, axis);
  const starts = new Int32Array(outer * inner);
  for (let o = 0; o < outer; o++) for (let n = 0; n < inner; n++) starts[o * inner + n] = o * size * inner + n;
  const rows = scope.reshape(indices, [outer, count, inner]);
  const steps = inner === 1 ? rows : scope.run('Multiply', { a: rows, b: scope.scalar(inner, 'int32') });
  const positions = scope.run('Add', { a: steps, b: scope.upload(starts, [outer, 1, inner]) });
  return scope.reshape(positions, [outer * count * inner, 1]);
}
