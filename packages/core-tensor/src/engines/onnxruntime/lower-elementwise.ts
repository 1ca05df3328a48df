import type { DType } from '../../dtype.js';
import { isFloat, isInteger } from '../../dtype.js';
import type { GraphNode, OpName } from '../../graph/node.js';
import { specOf } from '../../graph/node.js';
import { lowerAccumulation } from './accumulation.js';
import { BINARY, UNARY } from './elementwise-ops.js';
import { lowerResidualNorm } from './lower-kernels.js';
import { lowerScaledProduct } from './lower-products.js';
import type { Lowering, LoweringRules } from './lowering.js';
import { onnxTypes } from './proto.js';

export function elementwise(op: string): (node: GraphNode, lowering: Lowering) => string[] {
  return (node, lowering) => {
    const dtype = specOf(node.inputs[0]!).dtype;
    const compute = lowering.computeDType(dtype);
    const { shape, dtype: output } = node.outputs[0]!;
    const inputs = lowering.broadcastOperands(
      node.inputs,
      shape,
      node.inputs.map(() => compute),
    );
    const { builder } = lowering;
    // A graph output that is a reshape would be copied.
    const { values, shape: before = shape } = lowering.isOutput(node)
      ? { values: inputs }
      : builder.beforeReshape(inputs);
    const result = builder.reshape(builder.shaped(builder.op(op, values), before), shape);
    return [output === 'bool' ? result : lowering.convert(result, compute, output)];
  };
}

const fromTable = <Table extends Partial<Record<OpName, string>>>(table: Table) =>
  Object.fromEntries(Object.entries(table).map(([name, op]) => [name, elementwise(op)])) as Pick<
    Record<OpName, ReturnType<typeof elementwise>>,
    keyof Table & OpName
  >;

export const elementwiseRules = {
  ...fromTable(UNARY),
  ...fromTable(BINARY),
  add: (node, lowering) =>
    lowerAccumulation(node, lowering) ?? lowerResidualNorm(node, lowering) ?? elementwise('Add')(node, lowering),
  mul: (node, lowering) => lowerScaledProduct(node, lowering) ?? elementwise('Mul')(node, lowering),
  where: (node, lowering) => {
    const { shape, dtype } = node.outputs[0]!;
    // Where has no kernel for bool.
    const type = dtype === 'bool' ? 'int32' : lowering.computeDType(dtype);
    const operands = lowering.broadcastOperands(node.inputs, shape, ['bool', type, type]);
    const result = lowering.builder.op('Where', operands);
    return [lowering.convert(result, type, dtype)];
  },
  cast: (node, lowering) => {
    const from = specOf(node.inputs[0]!).dtype;
    return [lowering.convert(lowering.name(node.inputs[0]!), from, node.attributes.dtype)];
  },
} satisfies Partial<LoweringRules>;

/** The chain of types a conversion goes through; bfloat16 values live in float32 (see `onnxTypeOf`). */
export function castSteps(from: DType, to: DType): number[] {
  if (from === to) return [];
  if (to === 'bfloat16') {
    const widen = from === 'float32' ? [] : [onnxTypes.float32];
    return from === 'bool' || from === 'int8' || from === 'uint8'
      ? widen
      : [...widen, onnxTypes.bfloat16, onnxTypes.float32];
  }
  if (from === 'bfloat16') return castSteps('float32', to);
  if (from === 'float16' && to !== 'float32') return [onnxTypes.float32, ...castSteps('float32', to)];
  // Out-of-range floats wrap like integers do, which C++ leaves open for a direct cast.
  if (isFloat(from) && isInteger(to) && to !== 'int32') return [onnxTypes.int32, onnxTypes[to]];
  if (from === 'int32' && to === 'float16') return [onnxTypes.float32, onnxTypes.float16];
  return [onnxTypes[to]];
}
