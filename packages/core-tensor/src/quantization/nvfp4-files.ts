import { unpackFloat4 } from './mxfp4-files.js';
import { QuantizationError } from './quantized-weight.js';

/** Numbers that share a scale. */
const BLOCK = 16;

/**
 * NVFP4 (NVIDIA, arXiv 2509.25149): value = code · (scale · global), codes in E2M1, a scale in E4M3 for 16 numbers of a row and one float32 for the weight.
 * ModelOpt's files have that number (`weight_scale_2`); those of compressed-tensors have its inverse (`weight_global_scale`).
 *
 * @param codes uint8, half as many as numbers
 * @param scales float32, one for 8 bytes of codes
 * @param overall what all scales are multiplied or divided by
 * @throws QuantizationError when there are more or fewer scales
 */
export function fromNvfp4(
  name: string,
  codes: Uint8Array,
  scales: Float32Array,
  overall: { readonly times: number } | { readonly by: number },
): Float32Array {
  if (scales.length * (BLOCK / 2) !== codes.length) {
    throw new QuantizationError(
      name,
      `has ${scales.length} scales for ${2 * codes.length} numbers in blocks of ${BLOCK}`,
    );
  }
  const whole = scales.map((scale) => ('times' in overall ? scale * overall.times : scale / overall.by));
  const out = unpackFloat4(codes);
  for (let i = 0; i < out.length; i++) out[i]! *= whole[Math.floor(i / BLOCK)]!;
  return out;
}
