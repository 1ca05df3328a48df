import type { Rules } from './rule.js';

/** The primitives that only move elements. */
export const movementRules: Rules = {
  barrier: (_scope, _node, [x]) => x!,
  reshape: (scope, { attributes: { shape } }, [x]) => scope.reshape(x!, shape),
  transpose: (scope, { attributes: { permutation } }, [x]) => scope.run('Transpose', { x: x! }, { perm: permutation }),
  broadcastTo: (scope, { attributes: { shape } }, [x]) => scope.broadcast(x!, shape),
  slice: (scope, { attributes: { starts, ends, steps } }, [x]) => {
    const size = ends.map((end, axis) => end - starts[axis]!);
    let result = scope.run('Slice', { x: x! }, { begin: starts, size });
    // StridedSlice of the wasm backend gives float32, whatever it is given.
    for (const [axis, step] of steps.entries()) {
      const count = Math.ceil(size[axis]! / step);
      if (count === size[axis]) continue;
      const indices = scope.upload(
        Int32Array.from({ length: count }, (_, i) => i * step),
        [count],
      );
      result = scope.run('GatherV2', { x: result, indices }, { axis, batchDims: 0 });
    }
    return result;
  },
  pad: (scope, { attributes: { low, high, value } }, [x]) => {
    const paddings = low.map((before, axis) => [before, high[axis]!] as const);
    return scope.run('PadV2', { x: x! }, { paddings, constantValue: value });
  },
  concat: (scope, { attributes: { axis } }, inputs) =>
    // The one kernel whose inputs are an array.
    inputs.length === 1 ? inputs[0]! : scope.run('Concat', inputs, { axis }),
};
