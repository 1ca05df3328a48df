import type { Rules } from './rule.js';

/** Reductions and scans. */
export const reductionRules: Rules = {
  sum: (scope, { attributes: { axes, keepDims } }, [x]) => scope.run('Sum', { x: x! }, { axis: axes, keepDims }),
  max: (scope, { attributes: { axes, keepDims } }, [x]) =>
    scope.run('Max', { x: x! }, { reductionIndices: axes, keepDims }),
  argMax: (scope, node, [x]) =>
    scope.reshape(scope.run('ArgMax', { x: x! }, { axis: node.attributes.axis }), node.outputs[0]!.shape),
  cumsum: (scope, { attributes: { axis, exclusive, reverse } }, [x]) =>
    scope.run('Cumsum', { x: x! }, { axis, exclusive, reverse }),
  topK: (scope, { attributes: { k } }, [x]) => scope.runAll('TopK', { x: x! }, { k, sorted: true }),
};
