import { type GraphNode, isOp, specOf, type Value } from '../../graph/node.js';
import type { Int4Layout } from '../../kernels/int4-matmul.js';
import type { FourBitLayout } from '../../kernels/nf4-matmul.js';
import type { OnnxAttributes } from '../../kernels/onnx-forward.js';
import { sizeOf } from '../../shape.js';
import type { KernelRule } from './lower-kernels.js';
import type { Lowering, LoweringTarget } from './lowering.js';
import { KERNEL_DOMAIN } from './proto.js';

/** By position, as `native/kernels/quantized.h` has them. */
const FORMATS = ['int8', 'int4', 'nf4', 'fp4'] as const;

/** A weight [out, in] in codes, as the operator `Quantized` of our kernels reads it. */
export interface CodedWeight {
  readonly format: (typeof FORMATS)[number];
  readonly shape: readonly number[];
  /** 0 for int8. */
  readonly blockSize: number;
  /** Codes, scales and perhaps zero points. */
  readonly parts: readonly Value[];
  /** The weight is rows of this one: of int4 only. */
  readonly rows?: readonly [start: number, end: number];
}

/** Kernels that unpack a weight: nodes of a graph only where `Quantized` computes them, and what they are. */
const UNPACKING: Readonly<Record<string, (node: GraphNode<'kernel'>) => Omit<CodedWeight, 'parts'>>> = {
  int4Dequantize: ({ attributes: { config } }) => {
    const { shape, blockSize } = config as Int4Layout;
    return { format: 'int4', shape, blockSize };
  },
  nf4Dequantize: ({ attributes: { config } }) => {
    const { method, shape, blockSize } = config as FourBitLayout;
    return { format: method, shape, blockSize };
  },
  int8Dequantize: ({ outputs: [spec] }) => ({ format: 'int8', shape: spec!.shape, blockSize: 0 }),
};

/** The kernels that only `Quantized` computes. */
export const OWN_KERNELS: ReadonlySet<string> = new Set(['int4Dequantize', 'int8Dequantize']);

/** Whether products with quantised weights are computed by `Quantized`. */
export const multipliesCodes = ({ products }: LoweringTarget): boolean => products?.codes !== undefined;

/** The coded weight that a value is, or rows of it. */
function codedWeight({ node }: Value): CodedWeight | undefined {
  // Order: what reads the codes themselves has nothing to wait for.
  if (isOp(node, 'barrier')) return codedWeight(node.inputs[0]!);
  if (isOp(node, 'slice')) {
    const whole = codedWeight(node.inputs[0]!);
    const { starts, ends, steps } = node.attributes;
    const isRows = steps.every((step) => step === 1) && starts[1] === 0 && ends[1] === whole?.shape[1];
    if (whole?.format !== 'int4' || whole.rows || !isRows) return undefined;
    return { ...whole, rows: [starts[0]!, ends[0]!] };
  }
  const found = isOp(node, 'kernel') ? UNPACKING[node.attributes.kernel.name] : undefined;
  return found && { ...found(node as GraphNode<'kernel'>), parts: node.inputs };
}

/** Nodes that unpack weights, or rows of them: computed where something reads them as floats only. */
export const unpackedWeights = (nodes: readonly GraphNode[]): GraphNode[] =>
  nodes.filter((node) => ['barrier', 'slice', 'kernel'].includes(node.op) && isUnpacked(node));

const isUnpacked = (node: GraphNode): boolean =>
  node.outputs[0]!.dtype === 'float32' && codedWeight({ node, index: 0 }) !== undefined;

/** What a product multiplies a coded weight by, and from which side. */
export function codedProduct(
  product: GraphNode<'matmul'>,
  operands: { readonly b: Value; readonly transA: boolean; readonly transB: boolean },
): { readonly weight: CodedWeight; readonly transposed: boolean } | undefined {
  if (operands.transA || product.outputs[0]!.dtype !== 'float32') return undefined;
  const weight = codedWeight(operands.b);
  // x Wᵀ of bytes rounds x, which `int8Matmul` asks for and a product with what the codes stand for does not.
  if (!weight || (weight.format === 'int8' && operands.transB)) return undefined;
  return { weight, transposed: !operands.transB };
}

interface Flags {
  /** x W instead of x Wᵀ. */
  readonly transposed?: boolean;
  readonly rounds?: boolean;
  readonly threshold?: number;
}

/** x Wᵀ or x W for x [..., in or out] in float32; without x, W itself: [out, in], or [in, out] of int8. */
export function quantized(lowering: Lowering, weight: CodedWeight, x?: string, flags: Flags = {}): string {
  const { shape, parts, rows = [0, shape[0]!] } = weight;
  const { transposed = false, rounds = false, threshold = 0 } = flags;
  const inputs = partNames(parts, (part) => lowering.name(withoutBarrier(part)));
  return operator(lowering, weight, x === undefined ? inputs : [...inputs, x], {
    out: rows[1] - rows[0],
    first: rows[0],
    transposed: Number(transposed),
    rounds: Number(rounds),
    threshold: { float: threshold },
  });
}

/** Codes, scales, and zero points where the operator reads bytes or where it reads numbers. */
function partNames([codes, scales, zeros]: readonly Value[], nameOf: (part: Value) => string): string[] {
  const zerosOf = (dtype: 'uint8' | 'float32') => (zeros && specOf(zeros).dtype === dtype ? nameOf(zeros) : '');
  return [nameOf(codes!), nameOf(scales!), zerosOf('uint8'), zerosOf('float32')];
}

function operator(
  lowering: Lowering,
  weight: CodedWeight,
  inputs: readonly string[],
  attributes: OnnxAttributes,
): string {
  const common = {
    arithmetic: lowering.target.products!.codes!,
    format: FORMATS.indexOf(weight.format),
    in: weight.shape[1]!,
    block: weight.blockSize,
  };
  return lowering.builder.ops('Quantized', inputs, 1, { ...common, ...attributes }, KERNEL_DOMAIN)[0]!;
}

const withoutBarrier = (value: Value): Value =>
  isOp(value.node, 'barrier') ? withoutBarrier(value.node.inputs[0]!) : value;

/** Some rows of an int4 weight as floats, of which only they are unpacked. */
export function gatheredRows(node: GraphNode<'gather'>, lowering: Lowering): string | undefined {
  const weight = multipliesCodes(lowering.target) ? codedWeight(node.inputs[0]!) : undefined;
  if (weight?.format !== 'int4' || weight.rows || node.attributes.axis !== 0) return undefined;
  const { builder } = lowering;
  const [out, width] = weight.shape as [number, number];
  const { shape } = specOf(node.inputs[1]!);
  const count = sizeOf(shape);
  const indices = builder.reshape(lowering.name(node.inputs[1]!), [count]);
  const inputs = partNames(weight.parts, (part) => {
    const ofRow = sizeOf(specOf(part).shape) / out;
    const whole = builder.reshape(lowering.name(withoutBarrier(part)), [out, ofRow]);
    return builder.op('Gather', [whole, indices], { axis: 0 });
  });
  const rows = builder.shaped(operator(lowering, weight, inputs, { out: count }), [count, width]);
  return builder.reshape(rows, [...shape, width]);
}

/** The kernels that unpack, where something reads what they give as floats. */
export const unpackingRules: Readonly<Record<string, KernelRule>> = {
  int4Dequantize: (node, lowering) => [quantized(lowering, codedWeight({ node, index: 0 })!)],
  int8Dequantize: (node, lowering) => [
    lowering.builder.transpose(quantized(lowering, codedWeight({ node, index: 0 })!), [1, 0]),
  ],
};
