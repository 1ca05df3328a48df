import type { FileTensors } from './bitsandbytes-files.js';
import { fromGrouped, type GroupedFormat, type GroupedLayout, PER_WORD } from './grouped-files.js';
import type { FloatMatrix, Int4Weight } from './quantized-weight.js';

/** `qweight` [in / 8, out] packs eight inputs of an output, `qzeros` eight outputs of a group, the first in the low bits. */
const layout: GroupedLayout = {
  inputsOf: ([words = 0]) => words * PER_WORD,
  outputsOf: ([, outputs = 0]) => outputs,
  codeAt: (words, input, output, outputs) =>
    (words[Math.floor(input / PER_WORD) * outputs + output]! >> (4 * (input % PER_WORD))) & 15,
  zeroAt: (words, group, output, outputs) =>
    (words[group * (outputs / PER_WORD) + Math.floor(output / PER_WORD)]! >> (4 * (output % PER_WORD))) & 15,
};

/**
 * A 4-bit weight [out, in] from the tensors of AutoGPTQ's and GPTQModel's files (arXiv 2210.17323), W_oi = s_go (c_oi − z_go) with g the group of input
 * i: `int4`, or floats where act-order has scattered the groups. See `fromGrouped`.
 *
 * @throws QuantizationError
 */
export const fromGptq = (name: string, tensors: FileTensors, format: GroupedFormat): Int4Weight | FloatMatrix =>
  fromGrouped(name, tensors, format, layout);
