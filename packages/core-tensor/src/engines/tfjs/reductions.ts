import { specOf } from '../../graph/node.js';
import { broadcastShapes, sameShape, sizeOf } from '../../shape.js';
import type { Rules } from './rule.js';

/** Reductions, scans, and the matrix product. */
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

  matmul: (scope, node, [a, b]) => {
    const { transposeA, transposeB } = node.attributes;
    const [shapeA, shapeB] = node.inputs.map((input) => specOf(input).shape) as [readonly number[], readonly number[]];
    const [batchA, batchB] = [shapeA.slice(0, -2), shapeB.slice(0, -2)];
    const { shape } = node.outputs[0]!;
    if (sizeOf(batchB) === 1 && !transposeA) {
      // One right operand for all: the rows of every matrix are rows of one product.
      const rows = sizeOf(shapeA.slice(0, -1));
      const product = scope.run(
        'BatchMatMul',
        {
          a: scope.reshape(a!, [1, rows, shapeA.at(-1)!]),
          b: scope.reshape(b!, [1, ...shapeB.slice(-2)]),
        },
        { transposeA, transposeB },
      );
      return scope.reshape(product, shape);
    }
    const batch = broadcastShapes('matmul', batchA, batchB);
    const stacked = [
      [a!, shapeA],
      [b!, shapeB],
    ] as const;
    const [left, right] = stacked.map(([x, from]) => {
      const same = sizeOf(from.slice(0, -2)) === 1 || sameShape(from.slice(0, -2), batch);
      const whole = same ? x : scope.broadcast(x, [...batch, ...from.slice(-2)]);
      return scope.reshape(whole, [sizeOf(whole.shape.slice(0, -2)), ...from.slice(-2)]);
    });
    const product = scope.run('BatchMatMul', { a: left!, b: right! }, { transposeA, transposeB });
    return scope.reshape(product, shape);
  },
};
