import { type GraphNode, isOp, specOf, type Value } from '../../graph/node.js';
import { sameShape, sizeOf } from '../../shape.js';
import {
  hasEmptyOperand,
  isFloat32,
  productOf,
  rowsOverTallWeight,
  scaledProduct,
  summedProduct,
} from './lower-products.js';
import type { Lowering } from './lowering.js';
import { arithmeticOf } from './own-products.js';

/** `addend + alpha · product`, which `Gemm` computes in one pass over the result, in place over the addend if that is donated. */
interface Accumulation {
  readonly addend: Value;
  readonly product: GraphNode<'matmul'>;
  readonly alpha: number;
  /** Nodes that are computed by the addition. */
  readonly swallowed: readonly GraphNode[];
}

/** What an addition accumulates, where one operand is a product that nothing else uses. */
export function accumulation(
  node: GraphNode<'add'>,
  isUsedOnce: (inner: GraphNode) => boolean,
): Accumulation | undefined {
  if (!isFloat32(node)) return undefined;
  const { shape } = node.outputs[0]!;
  // The later operand first: a sum of several products then accumulates from left to right.
  for (const i of [1, 0]) {
    const [term, addend] = [node.inputs[i]!, node.inputs[1 - i]!];
    const found = productIn(term.node);
    if (!found || addend.node === term.node || isOp(addend.node, 'full')) continue;
    const fits = [term, addend].every((value) => sameShape(specOf(value).shape, shape));
    if (fits && !hasEmptyOperand(found.product) && found.swallowed.every(isUsedOnce)) return { addend, ...found };
  }
  return undefined;
}

function productIn(node: GraphNode): Omit<Accumulation, 'addend'> | undefined {
  if (isOp(node, 'sum')) {
    const product = summedProduct(node);
    return product && !node.attributes.keepDims ? { product, alpha: 1, swallowed: [node, product] } : undefined;
  }
  const scaled = isOp(node, 'mul') ? scaledProduct(node) : undefined;
  const product = scaled?.product ?? (isOp(node, 'matmul') ? node : undefined);
  if (!product || !isFlat(product)) return undefined;
  const swallowed = scaled ? [node, product] : [product];
  return { product, alpha: scaled?.alpha ?? 1, swallowed };
}

/** Whether a product is one of two matrices, the rows of the first in any number of axes. */
function isFlat(node: GraphNode<'matmul'>): boolean {
  const product = productOf(node);
  const [a, b] = [specOf(product.a).shape.length, specOf(product.b).shape.length];
  return b === 2 && (a === 2 || !product.transA) && rowsOverTallWeight(product) === undefined;
}

/** An addition that `matmulFusions` has given a product to. */
export function lowerAccumulation(node: GraphNode<'add'>, lowering: Lowering): string[] | undefined {
  const found = accumulation(node, (inner) => lowering.fused.has(inner));
  if (!found) return undefined;
  const { builder } = lowering;
  const { addend, product, alpha } = found;
  const { shape } = node.outputs[0]!;
  const columns = shape.at(-1)!;
  const flat = (value: Value) => {
    const { shape: of } = specOf(value);
    return builder.reshape(lowering.name(value), [sizeOf(of) / of.at(-1)!, of.at(-1)!]);
  };
  const isSum = found.swallowed.some((inner) => inner.op === 'sum');
  const { a, b, transA, transB } = isSum
    ? { a: product.inputs[0]!, b: product.inputs[1]!, transA: true, transB: false }
    : productOf(product);
  const rows = sizeOf(shape) / columns;
  const [x, y] = [specOf(a).shape, specOf(b).shape];
  const summed = isSum ? sizeOf(x) / rows : x.at(transA ? -2 : -1)!;
  const size = { rows, summed, columns, transA, hasMatrix: isSum || x.length === 2 || y.length === 2 };
  const arithmetic = arithmeticOf(lowering.target.products, size);
  const result =
    arithmetic === undefined
      ? builder.op('Gemm', [flat(a), flat(b), flat(addend)], {
          alpha: { float: alpha },
          beta: { float: 1 },
          transA: Number(transA),
          transB: Number(transB),
        })
      : builder.product(flat(a), flat(b), arithmetic, { transA, transB, alpha, addend: flat(addend) });
  return [builder.reshape(builder.shaped(result, [rows, columns]), shape)];
}
