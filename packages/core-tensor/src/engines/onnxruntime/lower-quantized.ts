import { type GraphNode, specOf } from '../../graph/node.js';
import type { Int4Layout } from '../../kernels/int4-matmul.js';
import { INT8_ZERO, type Int8MatmulConfig } from '../../kernels/int8-matmul.js';
import type { FourBitLayout } from '../../kernels/nf4-matmul.js';
import { sizeOf } from '../../shape.js';
import type { KernelRule } from './lower-kernels.js';
import type { Lowering } from './lowering.js';
import { type CodedWeight, multipliesCodes, quantized } from './own-quantized.js';
import { onnxTypes } from './proto.js';

/** What our own kernel multiplies by, and how it rounds. */
type Own = (node: GraphNode<'kernel'>) => readonly [Omit<CodedWeight, 'parts'>, Parameters<typeof quantized>[3]?];

const configOf = <Config>(node: GraphNode<'kernel'>): Config => node.attributes.config as Config;

/** A product whose first operand and result are floats of any width and are computed with as float32. */
const product =
  (own: Own, write: (x: string, node: GraphNode<'kernel'>, lowering: Lowering) => string): KernelRule =>
  (node, lowering) => {
    const x = lowering.nameAs(node.inputs[0]!, 'float32');
    const [format, flags] = own(node);
    if (format.format === 'int8' ? lowering.target.products?.bytes : multipliesCodes(lowering.target)) {
      const weight = { ...format, parts: node.inputs.slice(1) };
      const y = lowering.builder.byRows(x, node.outputs[0]!.shape, (rows) => quantized(lowering, weight, rows, flags));
      return [lowering.convert(y, 'float32', node.outputs[0]!.dtype)];
    }
    return [lowering.convert(write(x, node, lowering), 'float32', node.outputs[0]!.dtype)];
  };

/** The accuracy level of MatMulNBits at which it rounds its inputs to 8 bits. */
const INT8_ACTIVATIONS = 4;

const QUANT_TYPES = { fp4: 0, nf4: 1 } as const;

/** x [rows, width] times the codes as a matrix [?, width], transposed. */
function bnb4(
  lowering: Lowering,
  x: string,
  operands: readonly string[],
  layout: FourBitLayout,
  width: number,
): string {
  const { method, shape, blockSize } = layout;
  return lowering.builder.op('MatMulBnb4', [x, ...operands], {
    K: width,
    N: sizeOf(shape) / width,
    block_size: blockSize,
    quant_type: QUANT_TYPES[method],
  });
}

const ownFourBit: Own = (node) => {
  const { method, shape, blockSize } = configOf<FourBitLayout>(node);
  return [{ format: method, shape, blockSize }];
};

const ownInt4: Own = (node) => {
  const { shape, blockSize, activations } = configOf<Int4Layout>(node);
  return [{ format: 'int4', shape, blockSize }, { rounds: activations === 'int8' }];
};

const ownInt8: Own = (node) => {
  const [width, out] = specOf(node.inputs[1]!).shape as [number, number];
  return [{ format: 'int8', shape: [out, width], blockSize: 0 }, configOf<Int8MatmulConfig>(node)];
};

/** ONNX Runtime's kernels for products with quantised weights. */
export const quantizedRules: Readonly<Record<string, KernelRule>> = {
  nf4Matmul: product(ownFourBit, (x, node, lowering) => {
    const [, codes, absmax] = node.inputs.map((input) => lowering.name(input));
    const layout = configOf<FourBitLayout>(node);
    return bnb4(lowering, x, [flat(lowering, node, codes!), absmax!], layout, layout.shape[1]!);
  }),

  // There is no operator that only unpacks, but the product of 1 and a matrix of one column is that.
  nf4Dequantize: (node, lowering) => {
    if (multipliesCodes(lowering.target)) return [quantized(lowering, { ...ownFourBit(node)[0], parts: node.inputs })];
    const [codes, absmax] = node.inputs.map((input) => lowering.name(input));
    const layout = configOf<FourBitLayout>(node);
    const { builder } = lowering;
    const one = builder.constant('float32', [1, 1], [1]);
    return [builder.reshape(bnb4(lowering, one, [flat(lowering, node, codes!), absmax!], layout, 1), layout.shape)];
  },

  int4Matmul: product(ownInt4, (x, node, lowering) => {
    const [, ...operands] = node.inputs.map((input) => lowering.name(input));
    const layout = configOf<Int4Layout>(node);
    const zeros = node.inputs[3];
    if (zeros && specOf(zeros).dtype === 'float32') return withNumbersAsZeros(lowering, x, node, layout);
    const parts = operands;
    const { shape, blockSize } = layout;
    const { builder } = lowering;
    const sizes = { K: shape[1]!, N: shape[0]!, bits: 4, block_size: blockSize };
    const isRounded = layout.activations === 'int8';
    // The operator rounds x itself only where it has packed the codes.
    if (isRounded && !lowering.isConstant(node.inputs[1]!)) {
      const rounded = roundedToInt8(lowering, x, specOf(node.inputs[0]!).shape, blockSize);
      return builder.op('MatMulNBits', [rounded, ...parts], sizes);
    }
    const level = isRounded ? { accuracy_level: INT8_ACTIVATIONS } : {};
    return builder.byRows(x, node.outputs[0]!.shape, (rows) =>
      builder.op('MatMulNBits', [rows, ...parts], { ...sizes, ...level }),
    );
  }),

  int8Matmul: product(ownInt8, (x, node, lowering) => {
    const [, codes, scales] = node.inputs.map((input) => lowering.name(input));
    const { builder } = lowering;
    const { threshold } = configOf<Int8MatmulConfig>(node);
    const number = (value: number) => builder.constant('float32', [], [value]);
    const times = (a: string, b: string) => builder.op('Mul', [a, b]);
    const zero = builder.constant('uint8', [], [INT8_ZERO]);

    const magnitude = builder.op('Abs', [x]);
    const isLarge = builder.op('GreaterOrEqual', [magnitude, number(threshold)]);
    const regular = threshold > 0 ? builder.op('Where', [isLarge, number(0), magnitude]) : magnitude;
    const largest = builder.op('ReduceMax', [regular, builder.ints([1])], { keepdims: 1 });
    // A row of zeros is divided by the smallest normal number, which leaves it zeros.
    const factor = builder.op('Div', [number(127), builder.op('Max', [largest, number(2 ** -126)])]);
    const kept = threshold > 0 ? builder.op('Where', [isLarge, number(0), x]) : x;
    const rounded = builder.op('Round', [times(kept, factor)]);
    const anyLarge = (axis: number, keepdims: 0 | 1) =>
      builder.op('ReduceMax', [builder.cast(isLarge, onnxTypes.uint8), builder.ints([axis])], { keepdims });
    const inside =
      threshold > 0 ? builder.op('Where', [builder.cast(anyLarge(0, 1), onnxTypes.bool), number(0), rounded]) : rounded;
    const bytes = builder.cast(builder.op('Add', [inside, number(INT8_ZERO)]), onnxTypes.uint8);
    const whole = builder.cast(builder.op('MatMulInteger', [bytes, codes!, zero, zero]), onnxTypes.float32);
    const unit = times(scales!, number(1 / 127));
    const main = times(times(whole, times(largest, number(1 / 127))), unit);
    if (threshold === 0) return main;

    // Outlier columns are few: only they are gathered, and their number is known when the graph runs.
    const columns = builder.reshape(builder.op('NonZero', [anyLarge(0, 0)]), [-1]);
    const outliers = builder.op('Gather', [x, columns], { axis: 1 });
    const rows = builder.cast(builder.op('Gather', [codes!, columns], { axis: 0 }), onnxTypes.float32);
    const centered = builder.op('Sub', [rows, number(INT8_ZERO)]);
    return builder.op('Add', [main, times(builder.matmul(outliers, centered), unit)]);
  }),
};

/**
 * x · Wᵀ where zeros z are no codes: as with the zero 8, whose products are packed, and for each block of a row the sum of
 * its x times (8 − z) · scale.
 */
function withNumbersAsZeros(lowering: Lowering, x: string, node: GraphNode<'kernel'>, layout: Int4Layout): string {
  const { builder } = lowering;
  const { shape, blockSize } = layout;
  const [out, width] = shape as [number, number];
  const [, codes, scales, zeros] = node.inputs.map((input) => lowering.name(input));
  const sizes = { K: width, N: out, bits: 4, block_size: blockSize };
  const main = builder.byRows(x, node.outputs[0]!.shape, (rows) =>
    builder.op('MatMulNBits', [rows, codes!, scales!], sizes),
  );
  const { blocks, apart } = inBlocks(lowering, x, specOf(node.inputs[0]!).shape, blockSize);
  const sums = builder.op('ReduceSum', [apart, builder.ints([2])], { keepdims: 0 });
  const shift = builder.op('Sub', [builder.constant('float32', [], [8]), zeros!]);
  const perBlock = builder.reshape(builder.op('Mul', [shift, scales!]), [out, blocks]);
  const rest = builder.matmul(sums, builder.op('Transpose', [perBlock], { perm: [1, 0] }));
  return builder.op('Add', [main, rest]);
}

/** x [rows, in] as [rows, blocks, blockSize], padded with zeros. */
function inBlocks({ builder }: Lowering, x: string, shape: readonly number[], blockSize: number) {
  const [rows, width] = shape as [number, number];
  const blocks = Math.ceil(width / blockSize);
  const missing = blocks * blockSize - width;
  const padded = missing === 0 ? x : builder.op('Pad', [x, builder.ints([0, 0, 0, missing])]);
  return { missing, blocks, apart: builder.reshape(padded, [rows, blocks, blockSize]) };
}

/** x [rows, in] as `Int4Activations` rounds it. */
function roundedToInt8(lowering: Lowering, x: string, shape: readonly number[], blockSize: number): string {
  const { builder } = lowering;
  const [rows, width] = shape as [number, number];
  const { missing, blocks, apart } = inBlocks(lowering, x, shape, blockSize);
  const number = (value: number) => builder.constant('float32', [], [value]);
  const largest = builder.op('ReduceMax', [builder.op('Abs', [apart]), builder.ints([2])], { keepdims: 1 });
  // A block of zeros is multiplied by a large number that is finite, which leaves it zeros.
  const factor = builder.op('Div', [number(127), builder.op('Max', [largest, number(2 ** -119)])]);
  const codes = builder.op('Round', [builder.op('Mul', [apart, factor])]);
  const rounded = builder.op('Mul', [codes, builder.op('Mul', [largest, number(1 / 127)])]);
  const flat = builder.reshape(rounded, [rows, blocks * blockSize]);
  return missing === 0 ? flat : builder.op('Slice', [flat, ...[0, width, 1].map((i) => builder.ints([i]))]);
}

/** Codes as one vector. */
const flat = (lowering: Lowering, node: GraphNode<'kernel'>, codes: string): string => {
  const { shape } = specOf(node.inputs.find((input) => specOf(input).dtype === 'uint8')!);
  return lowering.builder.reshape(codes, [sizeOf(shape)]);
};
