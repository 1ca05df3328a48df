import { bytesOf, type TensorData } from '../io/tensor-data.js';
import { sizeOf } from '../shape.js';
import type { FileTensors } from './bitsandbytes-files.js';
import { type Int4Weight, QuantizationError } from './quantized-weight.js';

/** What follows a layer's name in a file of compressed-tensors' `pack-quantized`. */
export const PACKED_SUFFIXES = ['weight_packed', 'weight_scale', 'weight_zero_point', 'weight_shape'] as const;
/** Zero points that an int32 holds. */
const PER_WORD = 8;

/**
 * An int4 weight as the tensors of compressed-tensors' format `pack-quantized`, by their suffixes: codes int32 [out, in / 8],
 * scales float32 [out, blocks of a row], zero points int32 [out / 8, blocks of a row] unless symmetric, and the shape, which files have as
 * I64. Codes and zero points are as ours, the earlier in the low bits.
 *
 * @throws QuantizationError for rows that are not whole blocks, zeros that are no codes, and products that round their inputs
 */
export function toCompressedTensors(name: string, { shape, blockSize, activations, parts }: Int4Weight): FileTensors {
  const fail = (what: string): never => {
    throw new QuantizationError(name, `${what}, which compressed-tensors' pack-quantized has no form for`);
  };
  const [rows, columns] = shape as [number, number];
  if (columns % blockSize !== 0) fail(`has rows of ${columns} in blocks of ${blockSize}`);
  if (activations !== 'float32') fail(`rounds its inputs to ${activations}`);
  const blocks = columns / blockSize;
  const { codes, scales, zeroPoints } = parts;
  if (zeroPoints?.dtype === 'float32') fail('has zeros that are no whole numbers (hqq)');
  return {
    weight_packed: words([rows, columns / PER_WORD], codes.data as Uint8Array),
    weight_scale: { dtype: 'float32', shape: [rows, blocks], data: scales.data as Float32Array },
    ...(zeroPoints && { weight_zero_point: packedZeros(zeroPoints.data as Uint8Array, rows, blocks) }),
    weight_shape: { dtype: 'int32', shape: [2], data: Int32Array.of(rows, columns) },
  };
}

/**
 * The inverse of `toCompressedTensors`.
 *
 * @throws QuantizationError when a tensor is missing, or has another size than the shape says
 */
export function fromCompressedTensors(
  name: string,
  tensors: FileTensors,
  { blockSize, symmetric }: Pick<Int4Weight, 'blockSize' | 'symmetric'>,
): Int4Weight {
  const fail = (message: string): never => {
    throw new QuantizationError(name, message);
  };
  const part = <D extends TensorData['dtype']>(suffix: string, dtype: D, wanted?: readonly number[]) => {
    const found = tensors[suffix];
    if (!found) return fail(`${name}.${suffix} is missing`);
    if (found.dtype !== dtype || (wanted && `${found.shape}` !== `${wanted}`)) {
      return fail(
        `${name}.${suffix} is ${found.dtype} [${found.shape.join(', ')}], not ${dtype}${wanted ? ` [${wanted.join(', ')}]` : ''}`,
      );
    }
    return found as Extract<TensorData, { dtype: D }>;
  };
  const shape = [...part('weight_shape', 'int32', [2]).data];
  const [rows, columns] = shape as [number, number];
  if (!shape.every((size) => size > 0) || columns % blockSize !== 0) {
    return fail(`has the shape [${shape.join(', ')}], whose rows are not whole blocks of ${blockSize}`);
  }
  const blocks = columns / blockSize;
  const packed = part('weight_packed', 'int32', [rows, columns / PER_WORD]);
  const scales = part('weight_scale', 'float32', [rows, blocks]);
  const zeros = symmetric ? undefined : part('weight_zero_point', 'int32', [Math.ceil(rows / PER_WORD), blocks]);
  return {
    method: 'int4',
    shape,
    blockSize,
    symmetric,
    activations: 'float32',
    parts: {
      codes: { dtype: 'uint8', shape: [rows, blocks, blockSize / 2], data: bytesOf(packed.data).slice() },
      scales: { dtype: 'float32', shape: [rows * blocks], data: scales.data },
      ...(zeros && { zeroPoints: unpackedZeros(zeros.data, rows, blocks) }),
    },
  };
}

/** Bytes as int32, which they are in a file. */
function words(shape: readonly number[], bytes: Uint8Array): TensorData {
  const data = new Int32Array(sizeOf(shape));
  bytesOf(data).set(bytes);
  return { dtype: 'int32', shape, data };
}

/** Ours are packed along a row, two a byte; theirs down a column, eight a word. */
function packedZeros(zeros: Uint8Array, rows: number, blocks: number): TensorData {
  const data = new Int32Array(Math.ceil(rows / PER_WORD) * blocks);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const byte = zeros[row * Math.ceil(blocks / 2) + (block >> 1)]!;
      const zero = (byte >> (block % 2 === 0 ? 0 : 4)) & 15;
      data[Math.floor(row / PER_WORD) * blocks + block]! |= zero << (4 * (row % PER_WORD));
    }
  }
  return { dtype: 'int32', shape: [data.length / blocks, blocks], data };
}

function unpackedZeros(zeros: Int32Array, rows: number, blocks: number): Extract<TensorData, { dtype: 'uint8' }> {
  const bytes = Math.ceil(blocks / 2);
  const data = new Uint8Array(rows * bytes);
  for (let row = 0; row < rows; row++) {
    // An odd one is paired with 8, as the quantiser has it.
    if (blocks % 2 === 1) data[(row + 1) * bytes - 1] = 8 << 4;
    for (let block = 0; block < blocks; block++) {
      const zero = (zeros[Math.floor(row / PER_WORD) * blocks + block]! >> (4 * (row % PER_WORD))) & 15;
      data[row * bytes + (block >> 1)]! |= zero << (block % 2 === 0 ? 0 : 4);
    }
  }
  return { dtype: 'uint8', shape: [rows, bytes], data };
}
