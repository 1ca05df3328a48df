import type { FileTensors } from './bitsandbytes-files.js';
import { fromGrouped, type GroupedFormat, type GroupedLayout, groupedParts, PER_WORD } from './grouped-files.js';
import type { FloatMatrix, Int4Weight } from './quantized-weight.js';

/** Which four bits of a word have the output at each of its eight places: 0, 2, 4, 6, 1, 3, 5, 7 from the low ones up. */
const PLACES = [0, 4, 1, 5, 2, 6, 3, 7];

const shiftOf = (output: number): number => 4 * PLACES[output % PER_WORD]!;

/** `qweight` [in, out / 8] and `qzeros` [groups, out / 8] both pack eight outputs. */
const layout: GroupedLayout = {
  tool: 'AWQ',
  inputsOf: ([inputs = 0]) => inputs,
  outputsOf: ([, words = 0]) => words * PER_WORD,
  shapeOf: (inputs, outputs) => [inputs, outputs / PER_WORD],
  wordOf: (input, output, outputs) => input * (outputs / PER_WORD) + Math.floor(output / PER_WORD),
  shiftOf: (_, output) => shiftOf(output),
  zeroShiftOf: shiftOf,
};

/**
 * A 4-bit weight [out, in] from the tensors of AutoAWQ's files (arXiv 2306.00978, version `gemm`), W_oi = s_go (c_oi − z_go) with g the group of input
 * i, as `int4`. See `fromGrouped`.
 *
 * @throws QuantizationError
 */
export const fromAwq = (name: string, tensors: FileTensors, format: GroupedFormat): Int4Weight | FloatMatrix =>
  fromGrouped(name, tensors, format, layout);

/**
 * The inverse of `fromAwq`. See `groupedParts`.
 *
 * @throws QuantizationError for what the files have no form for
 */
export function toAwq(name: string, weight: Int4Weight, format: Pick<GroupedFormat, 'groupSize'>): FileTensors {
  const { groupSize: _, ...parts } = groupedParts(name, weight, format, layout);
  return parts;
}
