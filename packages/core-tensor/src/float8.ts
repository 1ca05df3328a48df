/**
 * The 8-bit floats of the OCP specification, which JavaScript has no arrays for: only widened here, by a table of their 256
 * numbers. `E4M3` has no infinities, `E5M2` has them, and `E8M0` (of scales) is a power of two.
 */
export type Float8 = 'F8_E4M3' | 'F8_E5M2' | 'F8_E8M0';

const tables = new Map<Float8, Float32Array>();

/** The number of each of the 256 codes, by the code. */
export function float8Table(format: Float8): Float32Array {
  const known = tables.get(format);
  if (known) return known;
  const table = Float32Array.from({ length: 256 }, (_, code) => numberOf(format, code));
  tables.set(format, table);
  return table;
}

function numberOf(format: Float8, code: number): number {
  if (format === 'F8_E8M0') return code === 255 ? NaN : 2 ** (code - 127);
  const [fractionBits, bias] = format === 'F8_E4M3' ? [3, 7] : [2, 15];
  const sign = code & 128 ? -1 : 1;
  const exponent = (code & 127) >> fractionBits;
  const fraction = (code & ((1 << fractionBits) - 1)) / (1 << fractionBits);
  if (format === 'F8_E4M3' && (code & 127) === 127) return NaN;
  if (format === 'F8_E5M2' && exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** (1 - bias) : sign * (1 + fraction) * 2 ** (exponent - bias);
}

/** Widens codes to float32; exact. */
export function float8ToFloat32(format: Float8, codes: Uint8Array, out: Float32Array): void {
  const table = float8Table(format);
  for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]!]!;
}

/** Whether a dtype of safetensors is one that is widened. */
export const isFloat8 = (dtype: string): dtype is Float8 => ['F8_E4M3', 'F8_E5M2', 'F8_E8M0'].includes(dtype);
