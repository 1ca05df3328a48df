import { type GraphNode, isOp, specOf, type Value } from '../../graph/node.js';
import { sameShape, sizeOf } from '../../shape.js';
import type { Lowering, LoweringRules } from './lowering.js';
import { arithmeticOf, type ProductSize } from './own-products.js';
import { codedProduct, multipliesCodes, quantized } from './own-quantized.js';

/** A matrix product, as `FusedMatMul` and `Gemm` compute it. */
export interface Product {
  readonly a: Value;
  readonly b: Value;
  readonly transA: boolean;
  readonly transB: boolean;
}

export const hasEmptyOperand = (product: GraphNode): boolean =>
  product.inputs.some((input) => sizeOf(specOf(input).shape) === 0);

/** The product and the number of `mul(matmul, number)`. */
export function scaledProduct(node: GraphNode<'mul'>): { product: GraphNode<'matmul'>; alpha: number } | undefined {
  for (const [i, { node: product }] of node.inputs.entries()) {
    const factor = node.inputs[1 - i]!.node;
    const isScale = isOp(factor, 'full') && sameShape(node.outputs[0]!.shape, product.outputs[0]!.shape);
    if (isOp(product, 'matmul') && isScale && isFloat32(product)) return { product, alpha: factor.attributes.value };
  }
  return undefined;
}

/** The product of `sum(matmul(A, B, { transposeA }), every batch axis)` when the batches match. */
export function summedProduct(node: GraphNode<'sum'>): GraphNode<'matmul'> | undefined {
  const product = node.inputs[0]!.node;
  if (!isOp(product, 'matmul') || !product.attributes.transposeA || product.attributes.transposeB) return undefined;
  const batch = product.outputs[0]!.shape.length - 2;
  const [a, b] = product.inputs.map((input) => specOf(input).shape.slice(0, -2));
  const overBatch = node.attributes.axes.length === batch && node.attributes.axes.every((axis, i) => axis === i);
  return batch > 0 && overBatch && sameShape(a!, b!) && isFloat32(product) ? product : undefined;
}

export const isFloat32 = (node: GraphNode): boolean => node.outputs[0]!.dtype === 'float32';

/** The operands of a matmul, with transposes of the last two axes turned into flags. */
export function productOf(node: GraphNode<'matmul'>): Product {
  const [a, b] = node.inputs.map(withoutSwap) as [ReturnType<typeof withoutSwap>, ReturnType<typeof withoutSwap>];
  const { transposeA, transposeB } = node.attributes;
  return { a: a.value, b: b.value, transA: transposeA !== a.swapped, transB: transposeB !== b.swapped };
}

function withoutSwap(value: Value): { value: Value; swapped: boolean } {
  const { node } = value;
  if (!isOp(node, 'transpose')) return { value, swapped: false };
  const { permutation } = node.attributes;
  const last = permutation.length - 1;
  const swapsLastTwo = permutation.every((axis, i) => axis === (i === last ? last - 1 : i === last - 1 ? last : i));
  return swapsLastTwo ? { value: node.inputs[0]!, swapped: true } : { value, swapped: false };
}

function emitProduct(node: GraphNode<'matmul'>, lowering: Lowering, alpha: number): string {
  const { dtype, shape } = node.outputs[0]!;
  const { a, b, transA, transB } = productOf(node);
  const compute = lowering.computeDType(dtype);
  const { builder } = lowering;
  const coded = multipliesCodes(lowering.target) ? codedProduct(node, { b, transA, transB }) : undefined;
  if (coded) {
    const { weight, transposed } = coded;
    const result = builder.byRows(lowering.name(a), shape, (rows) => quantized(lowering, weight, rows, { transposed }));
    return alpha === 1 ? result : builder.op('Mul', [result, builder.constant('float32', [], [alpha])]);
  }
  const [left, right] = [lowering.nameAs(a, compute), lowering.nameAs(b, compute)];
  const flatRows = rowsOverMatrix({ a, b, transA, transB });
  if (lowering.target.standard && flatRows !== undefined) {
    const flat = builder.reshape(left, [flatRows, specOf(a).shape.at(-1)!]);
    const result = builder.matmul(flat, right, { transB, alpha, ranks: [2, 2] });
    return lowering.convert(builder.reshape(result, shape), compute, dtype);
  }
  const few = lowering.target.standard ? undefined : rowsOverTallWeight({ a, b, transA, transB });
  const [x, y] = [specOf(a).shape, specOf(b).shape];
  const size = {
    // One matrix on the right: all rows of a batch are rows of one product.
    rows: y.length === 2 && !transA ? sizeOf(shape) / shape.at(-1)! : shape.at(-2)!,
    summed: x.at(transA ? -2 : -1)!,
    columns: shape.at(-1)!,
    transA,
    hasMatrix: x.length === 2 || y.length === 2,
  };
  const arithmetic = compute === 'float32' ? arithmeticOf(lowering.target.products, size) : undefined;
  if (arithmetic !== undefined) {
    const times = (rows: string) => builder.product(rows, right, arithmetic, { transA, transB, alpha });
    const hasRows = !transA && y.length === 2;
    return lowering.convert(
      hasRows ? builder.byRows(left, shape, times) : builder.shaped(times(left), shape),
      compute,
      dtype,
    );
  }
  const rows = few !== undefined && few <= MOST_ROWS_OVER_PACKED && lowering.isConstant(b) ? undefined : few;
  if (rows === undefined) {
    const ranks = [specOf(a).shape.length, specOf(b).shape.length] as const;
    const times = (x: string) => builder.matmul(x, right, { transA, transB, alpha, ranks });
    const hasRows = !transA && ranks[1] === 2 && !lowering.target.standard;
    return lowering.convert(hasRows ? builder.byRows(left, shape, times) : times(left), compute, dtype);
  }
  const flat = builder.reshape(left, [rows, specOf(a).shape.at(-1)!]);
  const result = builder.matmul(right, flat, { transB: true, alpha });
  // One row is a column lying down.
  const turned = rows === 1 ? result : builder.shaped(builder.transpose(result, [1, 0]), [rows, shape.at(-1)!]);
  return lowering.convert(builder.reshape(turned, shape), compute, dtype);
}

/** The size of Aᵀ B of all rows of both, whatever axes they are in. */
export function stackedSize(product: GraphNode<'matmul'>): ProductSize {
  const [a, b] = product.inputs.map((input) => specOf(input).shape);
  const [rows, columns] = [a!.at(-1)!, b!.at(-1)!];
  return { rows, summed: sizeOf(a!) / rows, columns, transA: true, hasMatrix: true };
}

/** The rows of `x` in all its axes, in a product with one matrix. `Gemm` transposes, but knows two axes only. */
function rowsOverMatrix({ a, b, transA }: Product): number | undefined {
  const { shape } = specOf(a);
  return !transA && specOf(b).shape.length === 2 && shape.length > 2 ? sizeOf(shape) / shape.at(-1)! : undefined;
}

/** GEMV regime: up to this many rows, repacking the weight of `x Wᵀ` costs more than multiplying by it. */
const MOST_ROWS_OVER_WEIGHT = 32;
/** And up to this many, a prepacked weight is the fastest. */
const MOST_ROWS_OVER_PACKED = 8;

/**
 * Operand swap: the rows of `x` in a product x Wᵀ computed as (W xᵀ)ᵀ. The matrix on the right is repacked on every
 * call, so with few rows the small one is faster there (16 rows over [1536, 576] take half the time).
 */
export function rowsOverTallWeight({ a, b, transA, transB }: Product): number | undefined {
  const [x, weight] = [specOf(a).shape, specOf(b).shape];
  if (transA || !transB || weight.length !== 2) return undefined;
  const rows = sizeOf(x) / x.at(-1)!;
  return rows >= 1 && rows <= MOST_ROWS_OVER_WEIGHT && weight[0]! >= 8 * rows ? rows : undefined;
}

function reduction(op: 'ReduceSum' | 'ReduceMax'): (node: GraphNode<'sum' | 'max'>, lowering: Lowering) => string[] {
  return (node, lowering) => {
    const { axes, keepDims } = node.attributes;
    const { dtype } = node.outputs[0]!;
    const compute = op === 'ReduceSum' ? lowering.accumulationDType(dtype) : lowering.computeDType(dtype);
    const inputs = [lowering.nameAs(node.inputs[0]!, compute), lowering.builder.ints(axes)];
    return [lowering.convert(lowering.builder.op(op, inputs, { keepdims: Number(keepDims) }), compute, dtype)];
  };
}

/** Matrix products, reductions and scans. */
export const productRules = {
  matmul: (node, lowering) => [emitProduct(node, lowering, 1)],
  sum: (node, lowering) => {
    const product = summedProduct(node);
    if (!product || !lowering.fused.has(product)) return reduction('ReduceSum')(node, lowering);
    const [a, b] = product.inputs.map((input) => {
      const { shape } = specOf(input);
      const columns = shape.at(-1)!;
      return lowering.builder.reshape(lowering.name(input), [sizeOf(shape) / columns, columns]);
    });
    const size = stackedSize(product);
    const arithmetic = arithmeticOf(lowering.target.products, size);
    const result =
      arithmetic === undefined
        ? lowering.builder.matmul(a!, b!, { transA: true })
        : lowering.builder.product(a!, b!, arithmetic, { transA: true });
    return [node.attributes.keepDims ? lowering.builder.reshape(result, node.outputs[0]!.shape) : result];
  },
  max: reduction('ReduceMax'),
  argMax: (node, lowering) => {
    const { axis, keepDims } = node.attributes;
    const x = node.inputs[0]!;
    const name = lowering.nameAs(x, lowering.computeDType(specOf(x).dtype));
    return [lowering.nameAsInt32(lowering.builder.op('ArgMax', [name], { axis, keepdims: Number(keepDims) }))];
  },
  cumsum: (node, lowering) => {
    const { axis, exclusive, reverse } = node.attributes;
    const { dtype } = node.outputs[0]!;
    const compute = lowering.accumulationDType(dtype);
    const inputs = [lowering.nameAs(node.inputs[0]!, compute), lowering.builder.constant('int64', [], [axis])];
    const flags = { exclusive: Number(exclusive), reverse: Number(reverse) };
    return [lowering.convert(lowering.builder.op('CumSum', inputs, flags), compute, dtype)];
  },
  topK: (node, lowering) => {
    const { dtype } = node.outputs[0]!;
    const compute = lowering.computeDType(dtype);
    const inputs = [lowering.nameAs(node.inputs[0]!, compute), lowering.builder.ints([node.attributes.k])];
    const [values, indices] = lowering.builder.ops('TopK', inputs, 2, { axis: -1 });
    return [lowering.convert(values!, compute, dtype), lowering.nameAsInt32(indices!)];
  },
} satisfies Partial<LoweringRules>;

/** mul, with the scale of a product folded into it. */
export function lowerScaledProduct(node: GraphNode<'mul'>, lowering: Lowering): string[] | undefined {
  const scaled = scaledProduct(node);
  return scaled && lowering.fused.has(scaled.product)
    ? [emitProduct(scaled.product, lowering, scaled.alpha)]
    : undefined;
}
