import { specOf } from '../../graph/node.js';
import { sameShape, sizeOf } from '../../shape.js';
import type { Rule } from './rule.js';
import type { KernelScope } from './scope.js';
import type { TfjsKernelTensor } from './tfjs.js';

/** Multiplications above which a product of many is faster one by one, where the backend's batched kernel is slow. */
const LARGE_PRODUCT = 100_000;

/** Matrices [count, rows, columns], one for all when the count is 1. */
interface Operand {
  readonly x: TfjsKernelTensor;
  readonly isTransposed: boolean;
}

/** The batched matrix product. */
export const matmulRule: Rule<'matmul'> = (scope, node, [a, b]) => {
  const { transposeA, transposeB } = node.attributes;
  const [shapeA, shapeB] = node.inputs.map((input) => specOf(input).shape) as [readonly number[], readonly number[]];
  const { shape } = node.outputs[0]!;
  if (scope.isNative && (shapeA.length === 2 || shapeB.length > 2 || transposeA)) {
    return scope.run('BatchMatMul', { a: a!, b: b! }, { transposeA, transposeB });
  }
  const batch = shape.slice(0, -2);
  const stack = (x: TfjsKernelTensor, from: readonly number[]): TfjsKernelTensor => {
    const [own, matrix] = [from.slice(0, -2), from.slice(-2)];
    const fits = sizeOf(own) === 1 || sameShape(own, batch);
    return scope.reshape(fits ? x : scope.broadcast(x, [...batch, ...matrix]), [
      fits ? sizeOf(own) : sizeOf(batch),
      ...matrix,
    ]);
  };
  const right = { x: stack(b!, shapeB), isTransposed: transposeB };
  // With one right operand for all, the rows of every matrix are rows of one product.
  const isOne = right.x.shape[0] === 1 && !transposeA;
  const left = isOne ? scope.reshape(a!, [1, sizeOf(shapeA.slice(0, -1)), shapeA.at(-1)!]) : stack(a!, shapeA);
  return scope.reshape(product(scope, { x: left, isTransposed: transposeA }, right), shape);
};

function product(scope: KernelScope, a: Operand, b: Operand): TfjsKernelTensor {
  const [depth, columns] = [
    b.isTransposed ? b.x.shape[2]! : b.x.shape[1]!,
    b.isTransposed ? b.x.shape[1]! : b.x.shape[2]!,
  ];
  const rows = a.isTransposed ? a.x.shape[2]! : a.x.shape[1]!;
  if (!scope.hasGap('other products') || rows * depth * columns < LARGE_PRODUCT) {
    const attributes = { transposeA: a.isTransposed, transposeB: b.isTransposed };
    return scope.run('BatchMatMul', { a: a.x, b: b.x }, attributes);
  }
  const [left, right] = [upright(scope, a), upright(scope, b)];
  const count = Math.max(left.shape[0]!, right.shape[0]!);
  const products = Array.from({ length: count }, (_, i) => {
    const attributes = { transposeA: false, transposeB: false };
    return scope.run('BatchMatMul', { a: matrix(scope, left, i), b: matrix(scope, right, i) }, attributes);
  });
  return count === 1 ? products[0]! : scope.run('Concat', products, { axis: 0 });
}

const upright = (scope: KernelScope, { x, isTransposed }: Operand): TfjsKernelTensor =>
  isTransposed ? scope.run('Transpose', { x }, { perm: [0, 2, 1] }) : x;

/** Matrix `i` of a stack, or the only one. */
function matrix(scope: KernelScope, x: TfjsKernelTensor, i: number): TfjsKernelTensor {
  const [count, rows, columns] = x.shape as [number, number, number];
  return count === 1 ? x : scope.run('Slice', { x }, { begin: [i, 0, 0], size: [1, rows, columns] });
}
