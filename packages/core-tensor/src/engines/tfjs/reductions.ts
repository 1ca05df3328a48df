import type { Rules } from './rule.js';

/** Reductions and scans. */
export const reductionRules: Rules = {
  sum: (scope, node, [x]) => {
    const { axes } = node.attributes;
    return scope.reshape(scope.run('Sum', { x: x! }, { axis: axes, keepDims: false }), node.outputs[0]!.shape);
  },
  max: (scope, node, [x]) => {
    const { axes } = node.attributes;
    const result = scope.run('Max', { x: x! }, { reductionIndices: axes, keepDims: false });
    return scope.reshape(result, node.outputs[0]!.shape);
  },
  argMax: (scope, node, [x]) =>
    scope.reshape(scope.run('ArgMax', { x: x! }, { axis: node.attributes.axis }), node.outputs[0]!.shape),
  cumsum: (scope, { attributes: { axis, exclusive, reverse } }, [x]) =>
    scope.run('Cumsum', { x: x! }, { axis, exclusive, reverse }),
  topK: (scope, { attributes: { k } }, [x]) => scope.runAll('TopK', { x: x! }, { k, sorted: true }),
};
