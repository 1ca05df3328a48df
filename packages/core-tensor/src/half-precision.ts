/**
 * Conversions between float32 and the two 16-bit float formats, which JavaScript has no arrays for on Node 20:
 * both are kept as their bits in a `Uint16Array`. Narrowing rounds to nearest, ties to even, as PyTorch does.
 */

/** Widens bfloat16 bits to float32; exact. Writes into `out` when given (same length) and returns it. */
export function bfloat16ToFloat32(bits: Uint16Array, out: Float32Array = new Float32Array(bits.length)): Float32Array {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16;
  return out;
}

/** Widens float16 (IEEE 754 binary16) bits to float32; exact. Writes into `out` when given and returns it. */
export function float16ToFloat32(bits: Uint16Array, out: Float32Array = new Float32Array(bits.length)): Float32Array {
  const table = float16Table();
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < bits.length; i++) words[i] = table[bits[i]!]!;
  return out;
}

/** Rounds float32 to bfloat16 bits. NaN stays a quiet NaN; overflow becomes infinity. */
export function float32ToBfloat16(
  values: Float32Array,
  out: Uint16Array = new Uint16Array(values.length),
): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if ((word & 0x7fffffff) > 0x7f800000) out[i] = (word >>> 16) | 0x40;
    else out[i] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** Rounds float32 to float16 bits. NaN stays a quiet NaN; overflow becomes infinity; small values become subnormal. */
export function float32ToFloat16(values: Float32Array, out: Uint16Array = new Uint16Array(values.length)): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++) out[i] = roundToFloat16(words[i]!);
  return out;
}

function roundToFloat16(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff);
  const exponent = (magnitude >>> 23) - 112;
  if (exponent >= 31) return sign | 0x7c00;
  if (exponent > 0) {
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
    return sign | ((rounded - (112 << 23)) >>> 13);
  }
  if (exponent < -10) return sign;
  const significand = (magnitude & 0x7fffff) | 0x800000;
  const shift = 14 - exponent;
  const half = 1 << (shift - 1);
  return sign | ((significand + half - 1 + ((significand >>> shift) & 1)) >>> shift);
}

let cachedTable: Uint32Array | undefined;

/** The float32 word of each of the 65,536 float16 bit patterns: a lookup is several times faster than arithmetic. */
function float16Table(): Uint32Array {
  if (cachedTable) return cachedTable;
  const table = new Uint32Array(65536);
  const value = new Float32Array(1);
  const word = new Uint32Array(value.buffer);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = (bits & 0x8000) << 16;
    const exponent = (bits >>> 10) & 31;
    const fraction = bits & 0x3ff;
    if (exponent === 31) table[bits] = sign | 0x7f800000 | (fraction << 13);
    else if (exponent > 0) table[bits] = sign | ((exponent + 112) << 23) | (fraction << 13);
    else {
      value[0] = fraction * 2 ** -24;
      table[bits] = sign | word[0]!;
    }
  }
  cachedTable = table;
  return table;
}
