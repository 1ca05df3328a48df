import { type GraphNode, isOp, specOf, type Value } from '../../graph/node.js';
import { sameShape, sizeOf } from '../../shape.js';
import type { Lowering, LoweringRules } from './lowering.js';
import { onnxTypeOf } from './onnx-values.js';
import { gatheredRows } from './own-quantized.js';

/**
 * `addend`, or zeros, with `updates` added at `positions` along `axis`, both of shape `shape`; repeated positions add up, one after
 * the other. (ScatterND spreads its rows over threads, and nothing promises that repeated rows do not race.)
 */
function addInto(
  node: GraphNode<'scatterAdd' | 'addAlongAxis'>,
  lowering: Lowering,
  positions: string,
  shape: readonly number[],
  addend?: Value,
): string[] {
  const { builder } = lowering;
  const { dtype, shape: outputShape } = node.outputs[0]!;
  const compute = lowering.accumulationDType(dtype);
  const start = addend
    ? lowering.nameAs(addend, compute)
    : builder.op('Expand', [builder.constant(onnxTypeOf(compute), [], [0]), builder.ints(outputShape)]);
  const updates = builder.reshape(lowering.nameAs(node.inputs[1]!, compute), shape);
  const attributes = { axis: node.attributes.axis, reduction: 'add' };
  return [lowering.convert(builder.op('ScatterElements', [start, positions, updates], attributes), compute, dtype)];
}

/** Positions of a scatterAdd for every element of its updates, whose shape with the index axes as one is `shape`. */
function positionsOf(node: GraphNode<'scatterAdd'>, lowering: Lowering): { positions: string; shape: number[] } {
  const { builder } = lowering;
  const { axis } = node.attributes;
  const [indices, updates] = node.inputs.map((input) => specOf(input).shape);
  const rows = sizeOf(indices!);
  const shape = [...updates!.slice(0, axis), rows, ...updates!.slice(axis + indices!.length)];
  const perRow = shape.map((_, i) => (i === axis ? rows : 1));
  const flat = builder.reshape(lowering.name(node.inputs[0]!), perRow);
  return { positions: builder.op('Expand', [flat, builder.ints(shape)]), shape };
}

/** The scattered operand of a sum that may be added straight into the other one, and that one. */
export function scatteredInto(
  node: GraphNode<'add'>,
  isUsedOnce: (inner: GraphNode) => boolean,
): { readonly scattered: GraphNode<'scatterAdd'>; readonly addend: Value } | undefined {
  for (const i of [1, 0]) {
    const [{ node: scattered }, addend] = [node.inputs[i]!, node.inputs[1 - i]!];
    if (!isOp(scattered, 'scatterAdd') || addend.node === scattered || isOp(addend.node, 'full')) continue;
    const { shape } = node.outputs[0]!;
    const fits = [specOf(addend), scattered.outputs[0]!].every((spec) => sameShape(spec.shape, shape));
    const isEmpty = scattered.inputs.some((input) => sizeOf(specOf(input).shape) === 0);
    if (fits && !isEmpty && isUsedOnce(scattered)) return { scattered, addend };
  }
  return undefined;
}

/**
 * Fused scatter-add: a sum whose scattered operand `matmulFusions` has left to it; no matrix of zeros, no pass over both.
 */
export function lowerScatteredSum(node: GraphNode<'add'>, lowering: Lowering): string[] | undefined {
  const found = scatteredInto(node, (inner) => lowering.fused.has(inner));
  if (!found) return undefined;
  const { positions, shape } = positionsOf(found.scattered, lowering);
  return addInto(found.scattered, lowering, positions, shape, found.addend);
}

/** Reading and writing at computed positions. */
export const indexingRules = {
  gather: (node, lowering) => {
    const unpacked = gatheredRows(node, lowering);
    if (unpacked !== undefined) return [unpacked];
    const [x, indices] = node.inputs.map((input) => lowering.name(input));
    return [lowering.builder.op('Gather', [x!, indices!], { axis: node.attributes.axis })];
  },
  scatterAdd: (node, lowering) => {
    const { positions, shape } = positionsOf(node, lowering);
    return addInto(node, lowering, positions, shape);
  },
  takeAlongAxis: (node, lowering) => {
    const [x, indices] = node.inputs.map((input) => lowering.name(input));
    return [lowering.builder.op('GatherElements', [x!, indices!], { axis: node.attributes.axis })];
  },
  addAlongAxis: (node, lowering) =>
    addInto(node, lowering, lowering.name(node.inputs[0]!), specOf(node.inputs[1]!).shape),
  putAlongAxis: (node, lowering) => {
    const inputs = node.inputs.map((input) => lowering.name(input));
    return [lowering.builder.op('ScatterElements', inputs, { axis: node.attributes.axis })];
  },
} satisfies Partial<LoweringRules>;
