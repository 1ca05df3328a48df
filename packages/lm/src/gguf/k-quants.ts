import { float16At } from './half.js';

/**
 * The k-quants of llama.cpp: blocks of 256 elements, cut in parts with a scale (and a minimum) of their own, which are
 * themselves small integers times one float16 of the block. Each function decodes `count` blocks at the start of `bytes`.
 */

const SIZE = 256;

/** value = d · scale · q - dmin · min, 2 bits, parts of 16. Bytes: 16 (scale | min << 4), 64 of codes, d, dmin. */
export function q2K(bytes: Uint8Array, out: Float32Array, count: number): void {
  for (let block = 0; block < count; block++) {
    const at = block * 84;
    const [d, dmin] = [float16At(bytes, at + 80), float16At(bytes, at + 82)];
    for (let i = 0; i < SIZE; i++) {
      const part = bytes[at + (i >> 4)]!;
      out[block * SIZE + i] = d * (part & 15) * twoBits(bytes, at + 16, i) - dmin * (part >> 4);
    }
  }
}

/** value = d · scale · q, 3 bits (-4 to 3), parts of 16. Bytes: 32 of high bits, 64 of low bits, 12 of scales, d. */
export function q3K(bytes: Uint8Array, out: Float32Array, count: number): void {
  for (let block = 0; block < count; block++) {
    const at = block * 110;
    const d = float16At(bytes, at + 108);
    for (let part = 0; part < 16; part++) {
      const low = bytes[at + 96 + (part & 7)]! >> (part < 8 ? 0 : 4);
      const high = bytes[at + 104 + (part & 3)]! >> (2 * (part >> 2));
      const scale = d * (((low & 15) | ((high & 3) << 4)) - 32);
      for (let i = part * 16; i < part * 16 + 16; i++) {
        const above = (bytes[at + (i & 31)]! >> (i >> 5)) & 1;
        out[block * SIZE + i] = scale * (twoBits(bytes, at + 32, i) - (above ? 0 : 4));
      }
    }
  }
}

/** value = d · scale · q - dmin · min, 4 bits, parts of 32. Bytes: d, dmin, 12 of scales and minimums, 128 of codes. */
export function q4K(bytes: Uint8Array, out: Float32Array, count: number): void {
  for (let block = 0; block < count; block++) {
    const at = block * 144;
    for (let part = 0; part < 8; part++) {
      const [scale, min] = scaleAndMin(bytes, at, part);
      for (let i = part * 32; i < part * 32 + 32; i++) {
        out[block * SIZE + i] = scale * fourBits(bytes, at + 16, i) - min;
      }
    }
  }
}

/** value = d · scale · q - dmin · min, 5 bits, parts of 32. Bytes: as Q4_K, with 32 of fifth bits before the codes. */
export function q5K(bytes: Uint8Array, out: Float32Array, count: number): void {
  for (let block = 0; block < count; block++) {
    const at = block * 176;
    for (let part = 0; part < 8; part++) {
      const [scale, min] = scaleAndMin(bytes, at, part);
      for (let i = part * 32; i < part * 32 + 32; i++) {
        const high = (bytes[at + 16 + (i & 31)]! >> part) & 1;
        out[block * SIZE + i] = scale * (fourBits(bytes, at + 48, i) | (high << 4)) - min;
      }
    }
  }
}

/** value = d · scale · (q - 32), 6 bits, parts of 16. Bytes: 128 of low four bits, 64 of high two, 16 signed scales, d. */
export function q6K(bytes: Uint8Array, out: Float32Array, count: number): void {
  for (let block = 0; block < count; block++) {
    const at = block * 210;
    const d = float16At(bytes, at + 208);
    for (let i = 0; i < SIZE; i++) {
      const low = bytes[at + ((i >> 7) << 6) + (i & 63)]! >> (i & 64 ? 4 : 0);
      const scale = (bytes[at + 192 + (i >> 4)]! << 24) >> 24;
      out[block * SIZE + i] = d * scale * (((low & 15) | (twoBits(bytes, at + 128, i) << 4)) - 32);
    }
  }
}

/** Code i of those that take two bits: 32 bytes hold 128, each first its first 32. */
function twoBits(bytes: Uint8Array, at: number, i: number): number {
  return (bytes[at + ((i >> 7) << 5) + (i & 31)]! >> (((i >> 5) & 3) * 2)) & 3;
}

/** Code i of those that take four bits: 32 bytes hold 64, the first 32 in the low halves. */
function fourBits(bytes: Uint8Array, at: number, i: number): number {
  return (bytes[at + ((i >> 6) << 5) + (i & 31)]! >> (i & 32 ? 4 : 0)) & 15;
}

/**
 * Scale and minimum of a part of a Q4_K or Q5_K block at `at`. Each is 6 bits: of parts 0 to 3 in one byte (its upper
 * two bits belong to parts 4 to 7), of parts 4 to 7 the lower four bits are the halves of the last four bytes.
 */
function scaleAndMin(bytes: Uint8Array, at: number, part: number): readonly [scale: number, min: number] {
  const [d, dmin, packed] = [float16At(bytes, at), float16At(bytes, at + 2), at + 4];
  if (part < 4) return [d * (bytes[packed + part]! & 63), dmin * (bytes[packed + part + 4]! & 63)];
  const low = bytes[packed + part + 4]!;
  const scale = (low & 15) | ((bytes[packed + part - 4]! >> 2) & 48);
  const min = (low >> 4) | ((bytes[packed + part]! >> 2) & 48);
  return [d * scale, dmin * min];
}
