import { type GraphNode, specOf } from '../../graph/node.js';
import { sizeOf } from '../../shape.js';
import { type Lowering, type LoweringRules, onnxTypeOf } from './lowering.js';

/**
 * Zeros with `updates` added at `positions` along `axis`, both of shape `shape`; repeated positions add up, one after
 * the other. (ScatterND spreads its rows over threads, and nothing promises that repeated rows do not race.)
 */
function addInto(
  node: GraphNode<'scatterAdd' | 'addAlongAxis'>,
  lowering: Lowering,
  positions: string,
  shape: readonly number[],
): string[] {
  const { builder } = lowering;
  const { dtype, shape: outputShape } = node.outputs[0]!;
  const compute = lowering.computeDType(dtype);
  const zeros = builder.op('Expand', [builder.constant(onnxTypeOf(compute), [], [0]), builder.ints(outputShape)]);
  const updates = builder.reshape(lowering.nameAs(node.inputs[1]!, compute), shape);
  const attributes = { axis: node.attributes.axis, reduction: 'add' };
  return [lowering.convert(builder.op('ScatterElements', [zeros, positions, updates], attributes), compute, dtype)];
}

/** Reading and writing at computed positions. */
export const indexingRules = {
  gather: (node, lowering) => {
    const [x, indices] = node.inputs.map((input) => lowering.name(input));
    return [lowering.builder.op('Gather', [x!, indices!], { axis: node.attributes.axis })];
  },
  scatterAdd: (node, lowering) => {
    // One position per row becomes one per element; the axes of the indices become one.
    const { builder } = lowering;
    const { axis } = node.attributes;
    const [indices, updates] = node.inputs.map((input) => specOf(input).shape);
    const rows = sizeOf(indices!);
    const shape = [...updates!.slice(0, axis), rows, ...updates!.slice(axis + indices!.length)];
    const perRow = shape.map((_, i) => (i === axis ? rows : 1));
    const positions = builder.op('Expand', [
      builder.reshape(lowering.name(node.inputs[0]!), perRow),
      builder.ints(shape),
    ]);
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
