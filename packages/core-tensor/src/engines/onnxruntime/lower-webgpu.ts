import { isInteger } from '../../dtype.js';
import { type GraphNode, specOf } from '../../graph/node.js';
import type { NormConfig } from '../../kernels/norms.js';
import type { OnnxGraphBuilder } from './graph-builder.js';
import { elementwise } from './lower-elementwise.js';
import { configOf, inComputeType, type KernelRule, kernelRules } from './lower-kernels.js';
import { movementRules } from './lower-movement.js';
import { productRules } from './lower-products.js';
import type { Lowering, LoweringRules, LoweringTarget } from './lowering.js';

/**
 * What ONNX Runtime's WebGPU provider (1.30) lacks or gets wrong, written in what it has. The rest falls back to the CPU
 * inside the session, which is right but slow: integers of 8 bits (as weights they stay inside fused products),
 * xor and shifts of random bits, IsNaN, Mod, and int32 in GatherElements.
 */
const rules: Partial<LoweringRules> = {
  sin: (node, lowering) => trigonometric(node, lowering, 0),
  cos: (node, lowering) => trigonometric(node, lowering, 1),

  // There is no Sign. What is neither above nor below zero is itself: zeros keep their sign, NaN stays.
  sign: (node, lowering) => {
    const { builder } = lowering;
    const { dtype, shape } = node.outputs[0]!;
    const compute = lowering.computeDType(dtype);
    const [x] = lowering.broadcastOperands(node.inputs, shape, [compute]);
    const [zero, one, minusOne] = [0, 1, -1].map((value) => builder.constant(typeOf(compute), [], [value]));
    const below = builder.op('Where', [builder.op('Less', [x!, zero!]), minusOne!, x!]);
    return [lowering.convert(builder.op('Where', [builder.op('Greater', [x!, zero!]), one!, below]), compute, dtype)];
  },

  // Neg and Abs have no integers.
  neg: (node, lowering) =>
    onIntegers(node, lowering, (x, zero, b) => b.op('Sub', [zero, x])) ?? common('Neg', node, lowering),
  abs: (node, lowering) =>
    onIntegers(node, lowering, (x, zero, b) => {
      const negative = b.op('Sub', [zero, x]);
      return b.op('Where', [b.op('Less', [x, zero]), negative, x]);
    }) ?? common('Abs', node, lowering),

  // Slice knows floats only. Whole numbers are picked by their positions.
  slice: (node, lowering) => {
    const x = node.inputs[0]!;
    const { shape, dtype } = specOf(x);
    if (dtype !== 'int32') return movementRules.slice(node, lowering);
    const { builder } = lowering;
    const { starts, steps } = node.attributes;
    const sizes = node.outputs[0]!.shape;
    const picked = sizes.reduce((name, size, axis) => {
      if (size === shape[axis] && steps[axis] === 1) return name;
      const positions = Array.from({ length: size }, (_, i) => starts[axis]! + i * steps[axis]!);
      return builder.op('Gather', [name, builder.constant('int32', [size], positions)], { axis });
    }, lowering.name(x));
    return [picked];
  },

  // ArgMax gives 64-bit integers, which leave the device to become others: the least position of what equals the largest.
  argMax: (node, lowering) => {
    const { axis, keepDims } = node.attributes;
    const { shape, dtype } = specOf(node.inputs[0]!);
    const length = shape[axis]!;
    if (isInteger(dtype) || length > LARGEST_EXACT_FLOAT) return productRules.argMax(node, lowering);
    const { builder } = lowering;
    const x = lowering.nameAs(node.inputs[0]!, lowering.computeDType(dtype));
    const axes = builder.ints([axis]);
    const isLargest = builder.op('Equal', [x, builder.op('ReduceMax', [x, axes], { keepdims: 1 })]);
    const alongAxis = shape.map((size, i) => (i === axis ? size : 1));
    const places = builder.reshape(builder.range('float32', length), alongAxis);
    const last = builder.constant('float32', [], [length - 1]);
    const least = builder.op('ReduceMin', [builder.op('Where', [isLargest, places, last]), axes], {
      keepdims: Number(keepDims),
    });
    return [lowering.nameAsInt32(least)];
  },

  or: (node, lowering) => {
    const { builder } = lowering;
    const operands = lowering.broadcastOperands(node.inputs, node.outputs[0]!.shape, ['bool', 'bool']);
    const neither = operands.map((name) => builder.op('Not', [name]));
    return [builder.op('Not', [builder.op('And', neither)])];
  },

  equal: (node, lowering) => {
    if (specOf(node.inputs[0]!).dtype !== 'bool') return common('Equal', node, lowering);
    const operands = lowering.broadcastOperands(node.inputs, node.outputs[0]!.shape, ['int32', 'int32']);
    return [lowering.builder.op('Equal', operands)];
  },
};

const LARGEST_EXACT_FLOAT = 2 ** 24;

const common = (op: string, node: GraphNode, lowering: Lowering) => elementwise(op)(node, lowering);

const typeOf = (dtype: string) => (dtype === 'int32' || dtype === 'float16' ? dtype : 'float32');

function onIntegers(
  node: GraphNode,
  lowering: Lowering,
  write: (x: string, zero: string, builder: OnnxGraphBuilder) => string,
): string[] | undefined {
  const { dtype, shape } = node.outputs[0]!;
  if (!isInteger(dtype)) return undefined;
  const [x] = lowering.broadcastOperands(node.inputs, shape, ['int32']);
  const { builder } = lowering;
  return [lowering.convert(write(x!, builder.constant('int32', [], [0]), builder), 'int32', dtype)];
}

/** π/2 in three parts: a multiple of the first two is exact in float32, so taking them away loses nothing. */
const [C1, C2] = [201 / 128, 4058 / 2 ** 23];
const QUARTER_TURN = [C1, C2, Math.PI / 2 - C1 - C2];
const SINE = [1 / 362880, -1 / 5040, 1 / 120, -1 / 6, 1];
const COSINE = [-1 / 3628800, 1 / 40320, -1 / 720, 1 / 24, -1 / 2, 1];

/**
 * sin(x + quarters · π/2), to float32 accuracy for |x| up to about 10⁵. WGSL only asks of its own sine an error under
 * 2⁻¹¹ between -π and π, and nothing outside; the angles of rotary embeddings are positions.
 * With x = k π/2 + r, |r| ≤ π/4: the Taylor series of the sine or the cosine of r, with the sign of the quadrant.
 */
function trigonometric(node: GraphNode, lowering: Lowering, quarters: 0 | 1): string[] {
  const { builder: b } = lowering;
  const { dtype, shape } = node.outputs[0]!;
  const constant = (value: number) => b.constant('float32', [], [value]);
  const add = (x: string, y: string) => b.op('Add', [x, y]);
  const sub = (x: string, y: string) => b.op('Sub', [x, y]);
  const mul = (x: string, y: string) => b.op('Mul', [x, y]);
  const [x] = lowering.broadcastOperands(node.inputs, shape, ['float32']);
  const turns = b.op('Floor', [add(mul(x!, constant(2 / Math.PI)), constant(0.5))]);
  const r = QUARTER_TURN.reduce((rest, part) => sub(rest, mul(turns, constant(part))), x!);
  const square = mul(r, r);
  const series = ([first, ...others]: readonly number[]) =>
    others.reduce((sum, c) => add(mul(sum, square), constant(c)), constant(first!));
  const quadrant = quarters === 0 ? turns : add(turns, constant(1));
  const half = b.op('Floor', [mul(quadrant, constant(0.5))]);
  const isOdd = sub(quadrant, mul(half, constant(2)));
  const isNegative = sub(half, mul(b.op('Floor', [mul(half, constant(0.5))]), constant(2)));
  const value = b.op('Where', [b.op('Greater', [isOdd, constant(0.5)]), series(COSINE), mul(series(SINE), r)]);
  const result = mul(value, sub(constant(1), mul(isNegative, constant(2))));
  return [lowering.convert(result, 'float32', dtype)];
}

/** There is no LogSoftmax, MatMulBnb4 nor MatMulInteger; their kernels run as their decompositions. */
const LACKING: ReadonlySet<string> = new Set(['logSoftmax', 'nf4Matmul', 'nf4Dequantize', 'int8Matmul']);

const kernels: Readonly<Record<string, KernelRule>> = {
  ...Object.fromEntries(Object.entries(kernelRules).filter(([name]) => !LACKING.has(name))),
  // The provider adds up the exponentials in the type it is given.
  softmax: (node, lowering) => {
    const x = lowering.nameAs(node.inputs[0]!, 'float32');
    const result = lowering.builder.op('Softmax', [x], { axis: -1 });
    return [lowering.convert(result, 'float32', node.outputs[0]!.dtype)];
  },
  // The provider leaves the second output, 1 / √(mean(x²) + ε), unwritten.
  rmsNorm: (node, lowering) => {
    const names = inComputeType(([x, weight], _, { builder }) => [
      builder.op('SimplifiedLayerNormalization', [x!, weight!], {
        axis: -1,
        epsilon: { float: configOf<NormConfig>(node).epsilon },
        stash_type: 1,
      }),
    ])(node, lowering);
    if (!lowering.isUsed(node, 1)) return names;
    const { builder } = lowering;
    const x = lowering.nameAs(node.inputs[0]!, 'float32');
    const squares = builder.op('Mul', [x, x]);
    const mean = builder.op('ReduceMean', [squares, builder.ints([-1])], { keepdims: 1 });
    const shifted = builder.op('Add', [mean, builder.constant('float32', [], [configOf<NormConfig>(node).epsilon])]);
    const inverse = builder.op('Reciprocal', [builder.op('Sqrt', [shifted])]);
    return [names[0]!, lowering.convert(inverse, 'float32', node.outputs[1]!.dtype)];
  },
};

/** What a graph is written for on WebGPU, with or without the device's own float16. */
export const webgpuTarget = (nativeFloat16: boolean): LoweringTarget => ({
  standard: true,
  nativeFloat16,
  windowedAttention: false,
  mlas: false,
  chains: false,
  rules,
  kernels,
});
