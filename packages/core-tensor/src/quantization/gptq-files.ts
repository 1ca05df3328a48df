import type { FileTensors } from './bitsandbytes-files.js';
import { fromGrouped, type GroupedFormat, type GroupedLayout, groupedParts, PER_WORD } from './grouped-files.js';
import type { FloatMatrix, Int4Weight } from './quantized-weight.js';

/** `qweight` [in / 8, out] packs eight inputs of an output, `qzeros` eight outputs of a group, the first in the low bits. */
const layout: GroupedLayout = {
  tool: 'GPTQ',
  inputsOf: ([words = 0]) => words * PER_WORD,
  outputsOf: ([, outputs = 0]) => outputs,
  shapeOf: (inputs, outputs) => [inputs / PER_WORD, outputs],
  wordOf: (input, output, outputs) => Math.floor(input / PER_WORD) * outputs + output,
  shiftOf: (input) => 4 * (input % PER_WORD),
  zeroShiftOf: (output) => 4 * (output % PER_WORD),
};

/**
 * A 4-bit weight [out, in] from the tensors of AutoGPTQ's and GPTQModel's files (arXiv 2210.17323), W_oi = s_go (c_oi − z_go) with g the group of input
 * i: `int4`, or floats where act-order has scattered the groups. See `fromGrouped`.
 *
 * @throws QuantizationError
 */
export const fromGptq = (name: string, tensors: FileTensors, format: GroupedFormat): Int4Weight | FloatMatrix =>
  fromGrouped(name, tensors, format, layout);

/**
 * The inverse of `fromGptq`, with `g_idx` int32 [in], which says the groups in their order. See `groupedParts`.
 *
 * @throws QuantizationError for what the files have no form for
 */
export function toGptq(name: string, weight: Int4Weight, format: Omit<GroupedFormat, 'actOrder'>): FileTensors {
  const { groupSize: size, ...parts } = groupedParts(name, weight, format, layout);
  const inputs = weight.shape[1]!;
  const data = Int32Array.from({ length: inputs }, (_, input) => Math.floor(input / size));
  return { ...parts, g_idx: { dtype: 'int32', shape: [inputs], data } };
}
