import { float32ToBfloat16, float32ToFloat16 } from '@posttrain/core-tensor';
import { q4K } from './encode-q4-k.js';
import { toFloat16 } from './half.js';

/** Writes `count` blocks of the numbers at the start of `values` to the start of `out`. */
export type EncodeBlocks = (values: Float32Array, out: Uint8Array, count: number) => void;

/**
 * d = the number of largest magnitude / -steps, so that it becomes the lowest code; code = ⌊x / d + steps + ½⌋, at most
 * 2 · steps - 1. All in float32, as the gguf package rounds: its blocks, bit for bit.
 */
function symmetricCodes(values: Float32Array, from: number, steps: number, codes: Uint8Array): number {
  let [extreme, magnitude] = [0, 0];
  for (let i = from; i < from + 32; i++) {
    if (Math.abs(values[i]!) > magnitude) [extreme, magnitude] = [values[i]!, Math.abs(values[i]!)];
  }
  const d = Math.fround(extreme / -steps);
  const inverse = d === 0 ? 0 : Math.fround(1 / d);
  for (let i = 0; i < 32; i++) {
    const scaled = Math.fround(Math.fround(values[from + i]! * inverse) + (steps + 0.5));
    codes[i] = Math.max(0, Math.min(2 * steps - 1, Math.trunc(scaled)));
  }
  return d;
}

/** See the decoder for the bytes. */
const q4_0: EncodeBlocks = (values, out, count) => {
  const codes = new Uint8Array(32);
  for (let block = 0; block < count; block++) {
    const at = block * 18;
    toFloat16(symmetricCodes(values, block * 32, 8, codes), out, at);
    for (let i = 0; i < 16; i++) out[at + 2 + i] = codes[i]! | (codes[16 + i]! << 4);
  }
};

const q5_0: EncodeBlocks = (values, out, count) => {
  const codes = new Uint8Array(32);
  for (let block = 0; block < count; block++) {
    const at = block * 22;
    toFloat16(symmetricCodes(values, block * 32, 16, codes), out, at);
    out.fill(0, at + 2, at + 6);
    for (let i = 0; i < 32; i++) out[at + 2 + (i >> 3)]! |= (codes[i]! >> 4) << (i & 7);
    for (let i = 0; i < 16; i++) out[at + 6 + i] = (codes[i]! & 15) | ((codes[16 + i]! & 15) << 4);
  }
};

/** d = largest magnitude / 127; code = x / d, halves rounded away from 0. Bit for bit as the gguf package and llama.cpp. */
const q8_0: EncodeBlocks = (values, out, count) => {
  for (let block = 0; block < count; block++) {
    const [at, from] = [block * 34, block * 32];
    let magnitude = 0;
    for (let i = from; i < from + 32; i++) magnitude = Math.max(magnitude, Math.abs(values[i]!));
    const d = Math.fround(magnitude / 127);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    toFloat16(d, out, at);
    for (let i = 0; i < 32; i++) {
      const scaled = Math.fround(values[from + i]! * inverse);
      out[at + 2 + i] = Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5);
    }
  }
};

const float32: EncodeBlocks = (values, out, count) => {
  out.set(new Uint8Array(values.buffer, values.byteOffset, 4 * count));
};
const float16: EncodeBlocks = (values, out, count) => {
  out.set(new Uint8Array(float32ToFloat16(values.subarray(0, count)).buffer));
};
const bfloat16: EncodeBlocks = (values, out, count) => {
  out.set(new Uint8Array(float32ToBfloat16(values.subarray(0, count)).buffer));
};

/** The formats that are written, by their names in `BLOCK_TYPES`. */
export const BLOCK_ENCODERS = {
  F32: float32,
  F16: float16,
  BF16: bfloat16,
  Q8_0: q8_0,
  Q5_0: q5_0,
  Q4_0: q4_0,
  Q4_K: q4K,
} as const satisfies Record<string, EncodeBlocks>;
/** The name of a format that is written. */
export type WrittenType = keyof typeof BLOCK_ENCODERS;
