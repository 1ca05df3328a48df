import { bfloat16ToFloat32, float16ToFloat32 } from '@posttrain/core-tensor';
import { float16At } from './half.js';
import { q2K, q3K, q4K, q5K, q6K } from './k-quants.js';

/** Writes the numbers that `count` blocks at the start of `bytes` stand for to the start of `out`. */
export type DecodeBlocks = (bytes: Uint8Array, out: Float32Array, count: number) => void;

/** A number format of GGUF: `size` consecutive elements of a row take `bytes` bytes. */
export interface BlockType {
  readonly name: string;
  readonly size: number;
  readonly bytes: number;
  readonly decode: DecodeBlocks;
}

const words = (bytes: Uint8Array, count: number) => {
  const copy = bytes.slice(0, 2 * count);
  return new Uint16Array(copy.buffer, copy.byteOffset, count);
};

/** value = d · (q - 8). Bytes: d, 16 bytes of codes: elements 0 to 15 in the low halves, 16 to 31 in the high ones. */
const q4_0: DecodeBlocks = (bytes, out, count) => {
  for (let block = 0; block < count; block++) {
    const [at, to] = [block * 18, block * 32];
    const d = float16At(bytes, at);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 2 + i]!;
      out[to + i] = ((pair & 15) - 8) * d;
      out[to + 16 + i] = ((pair >> 4) - 8) * d;
    }
  }
};

/** value = d · q + m. Bytes: d, m, codes as in Q4_0. */
const q4_1: DecodeBlocks = (bytes, out, count) => {
  for (let block = 0; block < count; block++) {
    const [at, to] = [block * 20, block * 32];
    const [d, m] = [float16At(bytes, at), float16At(bytes, at + 2)];
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 4 + i]!;
      out[to + i] = (pair & 15) * d + m;
      out[to + 16 + i] = (pair >> 4) * d + m;
    }
  }
};

/** value = d · (q - 16). Bytes: d, 32 bits: the fifth bit of each code, the other four as in Q4_0. */
const q5_0: DecodeBlocks = (bytes, out, count) => {
  for (let block = 0; block < count; block++) {
    const [at, to] = [block * 22, block * 32];
    const d = float16At(bytes, at);
    for (let i = 0; i < 32; i++) {
      const pair = bytes[at + 6 + (i & 15)]!;
      const high = (bytes[at + 2 + (i >> 3)]! >> (i & 7)) & 1;
      out[to + i] = (((i < 16 ? pair & 15 : pair >> 4) | (high << 4)) - 16) * d;
    }
  }
};

/** value = d · q + m. Bytes: d, m, the rest as in Q5_0. */
const q5_1: DecodeBlocks = (bytes, out, count) => {
  for (let block = 0; block < count; block++) {
    const [at, to] = [block * 24, block * 32];
    const [d, m] = [float16At(bytes, at), float16At(bytes, at + 2)];
    for (let i = 0; i < 32; i++) {
      const pair = bytes[at + 8 + (i & 15)]!;
      const high = (bytes[at + 4 + (i >> 3)]! >> (i & 7)) & 1;
      out[to + i] = ((i < 16 ? pair & 15 : pair >> 4) | (high << 4)) * d + m;
    }
  }
};

/** value = d · q. Bytes: d, 32 signed bytes. */
const q8_0: DecodeBlocks = (bytes, out, count) => {
  for (let block = 0; block < count; block++) {
    const [at, to] = [block * 34, block * 32];
    const d = float16At(bytes, at);
    for (let i = 0; i < 32; i++) out[to + i] = ((bytes[at + 2 + i]! << 24) >> 24) * d;
  }
};

const float32: DecodeBlocks = (bytes, out, count) => {
  new Uint8Array(out.buffer, out.byteOffset, 4 * count).set(bytes.subarray(0, 4 * count));
};
const float16: DecodeBlocks = (bytes, out, count) => {
  float16ToFloat32(words(bytes, count), out.subarray(0, count));
};
const bfloat16: DecodeBlocks = (bytes, out, count) => {
  bfloat16ToFloat32(words(bytes, count), out.subarray(0, count));
};

/** The formats that are read, by the number that a file has for them. */
export const BLOCK_TYPES: ReadonlyMap<number, BlockType> = new Map([
  [0, { name: 'F32', size: 1, bytes: 4, decode: float32 }],
  [1, { name: 'F16', size: 1, bytes: 2, decode: float16 }],
  [2, { name: 'Q4_0', size: 32, bytes: 18, decode: q4_0 }],
  [3, { name: 'Q4_1', size: 32, bytes: 20, decode: q4_1 }],
  [6, { name: 'Q5_0', size: 32, bytes: 22, decode: q5_0 }],
  [7, { name: 'Q5_1', size: 32, bytes: 24, decode: q5_1 }],
  [8, { name: 'Q8_0', size: 32, bytes: 34, decode: q8_0 }],
  [10, { name: 'Q2_K', size: 256, bytes: 84, decode: q2K }],
  [11, { name: 'Q3_K', size: 256, bytes: 110, decode: q3K }],
  [12, { name: 'Q4_K', size: 256, bytes: 144, decode: q4K }],
  [13, { name: 'Q5_K', size: 256, bytes: 176, decode: q5K }],
  [14, { name: 'Q6_K', size: 256, bytes: 210, decode: q6K }],
  [30, { name: 'BF16', size: 1, bytes: 2, decode: bfloat16 }],
]);

/** The names of further formats, by the number that a file has for them. */
export const UNREAD_TYPES: Readonly<Record<number, string>> = {
  ...{ 9: 'Q8_1', 15: 'Q8_K', 34: 'TQ1_0', 35: 'TQ2_0', 39: 'MXFP4', 40: 'NVFP4', 41: 'Q1_0' },
  ...{ 16: 'IQ2_XXS', 17: 'IQ2_XS', 18: 'IQ3_XXS', 19: 'IQ1_S', 20: 'IQ4_NL', 21: 'IQ3_S', 22: 'IQ2_S', 23: 'IQ4_XS' },
  ...{ 24: 'I8', 25: 'I16', 26: 'I32', 27: 'I64', 28: 'F64', 29: 'IQ1_M' },
};
