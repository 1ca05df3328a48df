import { type FloatMatrix, QuantizationError } from './quantized-weight.js';

/** How the scales of a weight in FP8 lie over it. */
export interface Fp8Format {
  /** Rows and columns that share a scale, the last of either perhaps fewer. Default: the weight cut evenly into as many as there are scales. */
  readonly block?: readonly [rows: number, columns: number] | undefined;
}

/**
 * A weight in FP8 (arXiv 2209.05433; in blocks as DeepSeek-V3, arXiv 2412.19437): value = code · scale of its block, where a block may be
 * the whole weight, a row of it, or `block`. The files of DeepSeek (`weight_scale_inv`, which multiplies all the same), compressed-tensors'
 * `float-quantized`, FBGEMM and ModelOpt differ in the shape of the scales only.
 *
 * @param codes the numbers of the codes, float32 [out, in]; multiplied in place
 * @param scales float32: one, [out] or [out, 1] for the rows, or a matrix for blocks
 * @throws QuantizationError when the scales do not fit the weight
 */
export function fromFp8(
  name: string,
  codes: FloatMatrix,
  scales: { readonly shape: readonly number[]; readonly data: Float32Array },
  { block }: Fp8Format = {},
): FloatMatrix {
  const [rows, columns] = codes.shape as [number, number];
  if (codes.shape.length !== 2) {
    throw new QuantizationError(name, `is a tensor [${codes.shape.join(', ')}] in FP8; only matrices are read`);
  }
  const isOne = scales.data.length === 1;
  const [down, across] = isOne ? [1, 1] : [scales.shape[0]!, scales.shape[1] ?? 1];
  const isGiven = block !== undefined && !isOne && scales.shape.length === 2;
  const [height, width] = isGiven ? block : [rows / down, columns / across];
  const fits = Number.isInteger(height) && Number.isInteger(width) && scales.shape.length <= 2;
  if (!fits || Math.ceil(rows / height) !== down || Math.ceil(columns / width) !== across) {
    throw new QuantizationError(
      name,
      `has scales [${scales.shape.join(', ')}], which do not fit a weight [${rows}, ${columns}]${isGiven ? ` in blocks of [${block.join(', ')}]` : ''}`,
    );
  }
  const { data } = codes;
  for (let row = 0; row < rows; row++) {
    const from = Math.floor(row / height) * across;
    for (let part = 0; part < across; part++) {
      const scale = scales.data[from + part]!;
      const end = Math.min(columns, (part + 1) * width);
      for (let column = part * width; column < end; column++) data[row * columns + column]! *= scale;
    }
  }
  return codes;
}
