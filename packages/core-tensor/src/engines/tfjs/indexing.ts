import { specOf } from '../../graph/node.js';
import { sizeOf } from '../../shape.js';
import { splitAxis } from '../reference/strided.js';
import { onHost } from './host.js';
import type { Rules } from './rule.js';
import type { KernelScope } from './scope.js';
import type { TfjsKernelTensor } from './tfjs.js';

/** The primitives that write to, or read from, computed positions: as rows of a flattened tensor. */
export const indexingRules: Rules = {
  scatterAdd: (scope, node, [indices, updates]) => {
    const { axis, size } = node.attributes;
    const count = sizeOf(specOf(node.inputs[0]!).shape);
    const { outer, inner } = splitAxis(node.outputs[0]!.shape, axis);
    let rows = scope.reshape(indices!, [1, count]);
    if (outer > 1) {
      const starts = Int32Array.from({ length: outer }, (_, o) => o * size);
      rows = scope.run('Add', { a: rows, b: scope.upload(starts, [outer, 1]) });
    }
    const sums = scope.run(
      'ScatterNd',
      {
        indices: scope.reshape(rows, [outer * count, 1]),
        updates: scope.reshape(updates!, [outer * count, inner]),
      },
      { shape: [outer * size, inner] },
    );
    return scope.reshape(sums, node.outputs[0]!.shape);
  },
  takeAlongAxis: (scope, node, [x, indices]) => {
    const { shape } = specOf(node.inputs[0]!);
    const positions = flatPositions(scope, indices!, node.attributes.axis, shape[node.attributes.axis]!);
    const flat = scope.reshape(x!, [sizeOf(shape)]);
    const taken = scope.run('GatherV2', { x: flat, indices: positions }, { axis: 0, batchDims: 0 });
    return scope.reshape(taken, node.outputs[0]!.shape);
  },
  addAlongAxis: (scope, node, [indices, updates]) => {
    const { axis, size } = node.attributes;
    const { shape } = node.outputs[0]!;
    const positions = flatPositions(scope, indices!, axis, size);
    const count = positions.shape[0]!;
    const sums = scope.run(
      'ScatterNd',
      { indices: scope.reshape(positions, [count, 1]), updates: scope.reshape(updates!, [count]) },
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
        indices: scope.reshape(positions, [count, 1]),
        updates: scope.reshape(scope.cast(updates!, type), [count]),
      },
      {},
    );
    return scope.cast(scope.reshape(result, shape), x!.dtype as 'float32');
  },
};

/** Row-major positions of the elements that `indices` names along `axis` of a tensor with `size` rows there: [count]. */
function flatPositions(scope: KernelScope, indices: TfjsKernelTensor, axis: number, size: number): TfjsKernelTensor {
  const { outer, size: count, inner } = splitAxis(indices.shape, axis);
  const starts = new Int32Array(outer * inner);
  for (let o = 0; o < outer; o++) for (let n = 0; n < inner; n++) starts[o * inner + n] = o * size * inner + n;
  const rows = scope.reshape(indices, [outer, count, inner]);
  const steps = inner === 1 ? rows : scope.run('Multiply', { a: rows, b: scope.scalar(inner, 'int32') });
  const positions = scope.run('Add', { a: steps, b: scope.upload(starts, [outer, 1, inner]) });
  return scope.reshape(positions, [outer * count * inner]);
}
