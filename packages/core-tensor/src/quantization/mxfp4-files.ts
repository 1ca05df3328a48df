import { float8Table } from '../float8.js';
import { QuantizationError } from './quantized-weight.js';

/** What the 16 codes of E2M1 stand for, the negative ones after the others. */
const POSITIVE = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
const E2M1 = [...POSITIVE, ...POSITIVE.map((x) => -x)];
/** Numbers that share a scale. */
const BLOCK = 32;

/** The numbers of 4-bit floats (E2M1), two a byte, the first in the low half; twice as many as bytes. */
export function unpackFloat4(codes: Uint8Array): Float32Array {
  const out = new Float32Array(2 * codes.length);
  for (let i = 0; i < codes.length; i++) {
    out[2 * i] = E2M1[codes[i]! & 15]!;
    out[2 * i + 1] = E2M1[codes[i]! >> 4]!;
  }
  return out;
}

/**
 * MXFP4 (OCP Microscaling 1.0, arXiv 2310.10537): value = code · 2^(scale - 127), codes in E2M1, a scale in E8M0 for 32 numbers of a row. As gpt-oss has
 * it (`_blocks`, `_scales`) and compressed-tensors (`mxfp4-pack-quantized`).
 *
 * @param codes uint8, half as many as numbers
 * @param scales uint8, one for 16 bytes of codes
 * @throws QuantizationError when there are more or fewer
 */
export function fromMxfp4(name: string, codes: Uint8Array, scales: Uint8Array): Float32Array {
  if (scales.length * (BLOCK / 2) !== codes.length) {
    throw new QuantizationError(
      name,
      `has ${scales.length} scales for ${2 * codes.length} numbers in blocks of ${BLOCK}`,
    );
  }
  const powers = float8Table('F8_E8M0');
  const out = unpackFloat4(codes);
  for (let i = 0; i < out.length; i++) out[i]! *= powers[scales[Math.floor(i / BLOCK)]!]!;
  return out;
}
