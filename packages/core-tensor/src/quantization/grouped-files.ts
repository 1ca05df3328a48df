import type { TensorData } from '../io/tensor-data.js';
import type { FileTensors } from './bitsandbytes-files.js';
import { packInt4 } from './int4.js';
import { type FloatMatrix, type Int4Weight, QuantizationError } from './quantized-weight.js';

// What files of GPTQ's and of AWQ's own tools have in common: 4-bit codes of a layer [in, out], and a scale and a zero of each output for each group
// of inputs.

/** What follows a layer's name in a file of GPTQ's (`quant_method: "gptq"`) or AWQ's (`"awq"`) tools. */
export const GROUPED_SUFFIXES = ['qweight', 'qzeros', 'scales', 'g_idx'] as const;

/** How the weights of such a file are grouped. */
export interface GroupedFormat {
  /** Inputs that share a scale; −1: all of them. */
  readonly groupSize: number;
  /** GPTQ's act-order (`desc_act`): groups follow the order in which inputs were quantised, which `g_idx` says. Default false. */
  readonly actOrder?: boolean;
  /**
   * What is added to a stored zero: 1 in GPTQ's first format, where the zero 8 is stored as 7. A whole word is one sum, as GPTQModel writes and reads
   * it: the zero 0 borrows from the one beside it. Default 0.
   */
  readonly zeroOffset?: 0 | 1;
}

/** Codes that an int32 holds. */
export const PER_WORD = 8;
/** One in every code of a word. */
const ONES = 0x11111111;
const MIDDLE = 8;

const BLOCK_SIZES = [16, 32, 64, 128, 256];
/** Blocks that one scale is said for several times, where the file's own are none of ours: few sizes, so that layers have the same. */
const SUBSTITUTES = [128, 32, 16];

/** Where a format has the codes and zeros of a layer. */
export interface GroupedLayout {
  /** Whose it is, for errors. */
  readonly tool: 'GPTQ' | 'AWQ';
  /** Inputs and outputs of a `qweight` of this shape, and the shape for so many. */
  readonly inputsOf: (shape: readonly number[]) => number;
  readonly outputsOf: (shape: readonly number[]) => number;
  readonly shapeOf: (inputs: number, outputs: number) => readonly [number, number];
  /** The word of `qweight` that has the code of an input and an output, and the place of the lowest of its bits there. */
  readonly wordOf: (input: number, output: number, outputs: number) => number;
  readonly shiftOf: (input: number, output: number) => number;
  /** The same place in a word of `qzeros` [groups, out / 8], which has the zeros of eight outputs. */
  readonly zeroShiftOf: (output: number) => number;
}

const zeroWordOf = (group: number, output: number, outputs: number): number =>
  group * (outputs / PER_WORD) + Math.floor(output / PER_WORD);

/**
 * A layer of such a file: as `int4` where every block of a row has one scale; with act-order, where groups are scattered over a row, as the
 * floats that the codes stand for.
 *
 * @param tensors by `GROUPED_SUFFIXES`: qweight and qzeros int32, scales [groups, out] float32, g_idx int32 [in]
 * @throws QuantizationError when a tensor is missing or of another size, or with act-order and without `g_idx`
 */
export function fromGrouped(
  name: string,
  tensors: FileTensors,
  { groupSize, actOrder = false, zeroOffset = 0 }: GroupedFormat,
  layout: GroupedLayout,
): Int4Weight | FloatMatrix {
  const fail = (message: string): never => {
    throw new QuantizationError(name, message);
  };
  const part = <D extends TensorData['dtype']>(suffix: string, dtype: D, wanted?: readonly number[]) => {
    const found = tensors[suffix];
    if (!found) return fail(`${name}.${suffix} is missing`);
    if (found.dtype === dtype && (wanted ? `${found.shape}` === `${wanted}` : found.shape.length === 2)) {
      return found as Extract<TensorData, { dtype: D }>;
    }
    const shape = wanted ? ` [${wanted.join(', ')}]` : ' of two dimensions';
    return fail(`${name}.${suffix} is ${found.dtype} [${found.shape.join(', ')}], not ${dtype}${shape}`);
  };
  const qweight = part('qweight', 'int32');
  const [inputs, outputs] = [layout.inputsOf(qweight.shape), layout.outputsOf(qweight.shape)];
  const isSize = groupSize === -1 || (Number.isSafeInteger(groupSize) && groupSize > 0);
  if (!isSize || inputs < 1 || outputs < 1 || outputs % PER_WORD !== 0) {
    return fail(`has ${outputs} outputs and ${inputs} inputs in groups of ${groupSize}, which no such file has`);
  }
  const size = groupSize === -1 ? inputs : groupSize;
  const groups = Math.ceil(inputs / size);
  const scales = part('scales', 'float32', [groups, outputs]);
  const qzeros = part('qzeros', 'int32', [groups, outputs / PER_WORD]);
  if (actOrder && !tensors.g_idx) {
    return fail(`${name}.g_idx is missing, which says the groups of its inputs with act-order (desc_act)`);
  }
  const groupOf = tensors.g_idx
    ? part('g_idx', 'int32', [inputs]).data
    : Int32Array.from({ length: inputs }, (_, i) => Math.floor(i / size));
  const wrong = groupOf.find((group) => group < 0 || group >= groups);
  if (wrong !== undefined) return fail(`${name}.g_idx has the group ${wrong}, and there are ${groups}`);

  const zeroWords = qzeros.data.map((word) => word + zeroOffset * ONES);
  const zeroOf = (group: number, output: number): number =>
    (zeroWords[zeroWordOf(group, output, outputs)]! >> layout.zeroShiftOf(output)) & 15;
  const codeOf = (input: number, output: number): number =>
    (qweight.data[layout.wordOf(input, output, outputs)]! >> layout.shiftOf(input, output)) & 15;
  const shape = [outputs, inputs];
  const blockSize = blockOf(groupOf, groupSize);
  if (blockSize === undefined) {
    const data = new Float32Array(outputs * inputs);
    for (let output = 0; output < outputs; output++) {
      for (let input = 0; input < inputs; input++) {
        const group = groupOf[input]!;
        data[output * inputs + input] =
          (codeOf(input, output) - zeroOf(group, output)) * scales.data[group * outputs + output]!;
      }
    }
    return { shape, data };
  }
  const blocks = Math.ceil(inputs / blockSize);
  const [codes, own, zeros] = [
    new Uint8Array(outputs * inputs),
    new Float32Array(outputs * blocks),
    new Uint8Array(outputs * blocks),
  ];
  for (let output = 0; output < outputs; output++) {
    for (let input = 0; input < inputs; input++) {
      codes[output * inputs + input] = codeOf(input, output);
    }
    for (let block = 0; block < blocks; block++) {
      const group = groupOf[block * blockSize]!;
      own[output * blocks + block] = scales.data[group * outputs + output]!;
      zeros[output * blocks + block] = zeroOf(group, output);
    }
  }
  return packInt4({ codes, scales: own, zeros, shape, blockSize, symmetric: zeros.every((zero) => zero === MIDDLE) });
}

/** The size of blocks that have one group each, the file's own where it is one of ours; undefined where groups are scattered. */
function blockOf(groupOf: Int32Array, groupSize: number): number | undefined {
  const whole = SUBSTITUTES.filter((size) => groupOf.length % size === 0);
  const sizes = [...(BLOCK_SIZES.includes(groupSize) ? [groupSize] : []), ...whole, ...SUBSTITUTES];
  return sizes.find((block) => groupOf.every((group, i) => group === groupOf[i - (i % block)]));
}

/**
 * The inverse of `fromGrouped`, of weights that have their groups in order: `qweight` and `qzeros` int32, `scales` float32 [groups, out].
 *
 * @param groupSize of the file: a multiple of the weight's blocks, whose scales and zeros in a group must then be the same; −1: whole rows
 * @returns with them `groupSize`, in inputs
 * @throws QuantizationError for rows that are not whole groups, outputs that are no multiple of 8, blocks of a group that differ, zeros that are
 * no codes, and products that round their inputs
 */
export function groupedParts(
  name: string,
  { shape, blockSize, activations, parts: { codes, scales, zeroPoints } }: Int4Weight,
  { groupSize, zeroOffset = 0 }: Omit<GroupedFormat, 'actOrder'>,
  { tool, shapeOf, wordOf, shiftOf, zeroShiftOf }: GroupedLayout,
): Record<'qweight' | 'qzeros' | 'scales', TensorData> & { readonly groupSize: number } {
  const fail = (what: string): never => {
    throw new QuantizationError(name, `${what}, which files of ${tool} have no form for`);
  };
  const [outputs, inputs] = shape as [number, number];
  const size = groupSize === -1 ? inputs : groupSize;
  const groups = inputs / size;
  if (!Number.isSafeInteger(groups)) fail(`has rows of ${inputs} in groups of ${size}`);
  if (groups > 1 && size % blockSize !== 0) fail(`has blocks of ${blockSize} in groups of ${size}`);
  if (inputs % PER_WORD !== 0) fail(`has ${inputs} inputs, no multiple of ${PER_WORD}`);
  if (outputs % PER_WORD !== 0) fail(`has ${outputs} outputs, no multiple of ${PER_WORD}`);
  if (activations !== 'float32') fail(`rounds its inputs to ${activations}`);
  if (zeroPoints?.dtype === 'float32') fail('has zeros that are no whole numbers (hqq)');

  const blocks = Math.ceil(inputs / blockSize);
  const nibble = (bytes: TensorData, start: number, i: number): number =>
    ((bytes.data as Uint8Array)[start + (i >> 1)]! >> (i % 2 === 0 ? 0 : 4)) & 15;
  const qweight = new Int32Array((inputs * outputs) / PER_WORD);
  const qzeros = new Int32Array((groups * outputs) / PER_WORD);
  const own = new Float32Array(groups * outputs);
  for (let output = 0; output < outputs; output++) {
    const start = (output * blocks * blockSize) / 2;
    for (let input = 0; input < inputs; input++) {
      qweight[wordOf(input, output, outputs)]! |= nibble(codes, start, input) << shiftOf(input, output);
    }
    for (let block = 0; block < blocks; block++) {
      const group = Math.floor((block * blockSize) / size);
      const scale = (scales.data as Float32Array)[output * blocks + block]!;
      const zero = zeroPoints ? nibble(zeroPoints, output * Math.ceil(blocks / 2), block) : MIDDLE;
      const [place, word] = [group * outputs + output, zeroWordOf(group, output, outputs)];
      if (block * blockSize === group * size) {
        own[place] = scale;
        qzeros[word]! |= zero << zeroShiftOf(output);
      } else if (own[place] !== scale || ((qzeros[word]! >> zeroShiftOf(output)) & 15) !== zero) {
        fail(`has blocks of different scales or zeros in a group of ${size}`);
      }
    }
  }
  const zeroShape = [groups, outputs / PER_WORD];
  return {
    qweight: { dtype: 'int32', shape: shapeOf(inputs, outputs), data: qweight },
    qzeros: { dtype: 'int32', shape: zeroShape, data: qzeros.map((word) => word - zeroOffset * ONES) },
    scales: { dtype: 'float32', shape: [groups, outputs], data: own },
    groupSize: size,
  };
}
