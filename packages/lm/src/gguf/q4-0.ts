import type { Int4Weight } from '@posttrain/core-tensor/quantization';
import { float16At } from './half.js';

const BLOCK = 32;
const BLOCK_BYTES = 18;

/**
 * A Q4_0 matrix as the symmetric `int4` of core-tensor, exactly: both stand for (code - 8) · scale with a scale for 32
 * elements of a row, and a float16 scale is a float32. Q4_0 has elements 0 to 15 of a block in the low halves of its
 * bytes and 16 to 31 in the high ones; `int4` has two neighbours a byte.
 *
 * @param bytes the rows' blocks, [out, in / 32, 18]
 * @param shape [out, in]
 */
export function int4FromQ4_0(bytes: Uint8Array, shape: readonly number[]): Int4Weight {
  const [rows, columns] = shape as [number, number];
  const blocks = (rows * columns) / BLOCK;
  const codes = new Uint8Array((rows * columns) / 2);
  const scales = new Float32Array(blocks);
  for (let block = 0; block < blocks; block++) {
    const at = block * BLOCK_BYTES;
    scales[block] = float16At(bytes, at);
    for (let i = 0; i < 16; i += 2) {
      const [even, odd] = [bytes[at + 2 + i]!, bytes[at + 3 + i]!];
      codes[block * 16 + i / 2] = (even & 15) | ((odd & 15) << 4);
      codes[block * 16 + 8 + i / 2] = (even >> 4) | (odd & 240);
    }
  }
  return {
    method: 'int4',
    shape,
    blockSize: BLOCK,
    symmetric: true,
    activations: 'float32',
    parts: {
      codes: { dtype: 'uint8', shape: [rows, columns / BLOCK, BLOCK / 2], data: codes },
      scales: { dtype: 'float32', shape: [blocks], data: scales },
    },
  };
}
