import { type Given, number, options } from '@posttrain/interfaces';
import { float16ToFloat32, float32ToFloat16 } from '../half-precision.js';
import type { TensorData } from '../io/tensor-data.js';
import { INT8_ZERO } from '../kernels/int8-matmul.js';
import { checkMatrix, type FloatMatrix, type Int8Weight, QuantizationError } from './quantized-weight.js';
import { roundHalfEven } from './round-half-even.js';

const int8Shape = {
  /** A feature column of the activations in which some |x| reaches it is multiplied as floats; 0: none is. Default 6. */
  threshold: number({ default: 6, min: 0 }),
};
const quantizeOptions = options('quantizeInt8', int8Shape);
const bitsandbytesOptions = options('fromBitsandbytesInt8', int8Shape);
/** Options of `quantizeInt8`. */
export type QuantizeInt8Options = Given<typeof quantizeOptions>;

/**
 * The weights of LLM.int8() (arXiv 2208.07339): each row is divided by its largest absolute value and rounded to
 * -127 … 127. As in bitsandbytes, the weight is rounded to float16 first; codes and scales are bitsandbytes' own.
 *
 * @throws QuantizationError for what is not a matrix of finite numbers
 */
export function quantizeInt8(weight: FloatMatrix, given: QuantizeInt8Options = {}): Int8Weight {
  const { threshold } = quantizeOptions.read(given);
  const half = { shape: weight.shape, data: float16ToFloat32(float32ToFloat16(weight.data)) };
  const [rows, columns] = checkMatrix('quantizeInt8', half);
  const codes = new Uint8Array(rows * columns);
  const scales = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const values = half.data.subarray(row * columns, (row + 1) * columns);
    let largest = 0;
    for (const value of values) largest = Math.max(largest, Math.abs(value));
    scales[row] = largest;
    const factor = largest === 0 ? 0 : Math.fround(127 / largest);
    for (let column = 0; column < columns; column++) {
      codes[column * rows + row] = INT8_ZERO + roundHalfEven(Math.fround(values[column]! * factor));
    }
  }
  return {
    method: 'int8',
    shape: weight.shape,
    threshold,
    parts: {
      codes: { dtype: 'uint8', shape: [columns, rows], data: codes },
      scales: { dtype: 'float32', shape: [rows], data: scales },
    },
  };
}

/** The weight that the codes stand for. */
export function dequantizeInt8({ shape, parts }: Int8Weight): FloatMatrix {
  const [rows, columns] = shape as [number, number];
  const data = new Float32Array(rows * columns);
  const unit = parts.scales.data.map((scale) => Math.fround(scale / 127));
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      data[row * columns + column] = (parts.codes.data[column * rows + row]! - INT8_ZERO) * unit[row]!;
    }
  }
  return { shape, data };
}

/** Signed codes int8 [out, in] and scales, as bitsandbytes stores them (`weight` and `SCB`). */
export function toBitsandbytesInt8({ shape, parts }: Int8Weight): { codes: TensorData; scales: TensorData } {
  const codes = Int8Array.from(transposed(parts.codes.data as Uint8Array, shape[1]!), (code) => code - INT8_ZERO);
  return { codes: { dtype: 'int8', shape, data: codes }, scales: parts.scales };
}

/** The inverse of `toBitsandbytesInt8`. @throws QuantizationError when codes and scales are not int8 [out, in] and float32 [out] */
export function fromBitsandbytesInt8(
  name: string,
  tensors: { readonly codes: TensorData; readonly scales: TensorData },
  given: QuantizeInt8Options = {},
): Int8Weight {
  const { threshold } = bitsandbytesOptions.read(given);
  const { codes, scales } = tensors;
  const [rows, columns] = codes.shape;
  if (codes.dtype !== 'int8' || scales.dtype !== 'float32' || codes.shape.length !== 2 || scales.data.length !== rows) {
    throw new QuantizationError(
      name,
      `needs int8 codes [out, in] and float32 scales [out], not ${codes.dtype} [${codes.shape.join(', ')}] and ${scales.dtype} [${scales.shape.join(', ')}]`,
    );
  }
  const stored = transposed(
    Uint8Array.from(codes.data, (code) => code + INT8_ZERO),
    rows,
  );
  return {
    method: 'int8',
    shape: codes.shape,
    threshold,
    parts: {
      codes: { dtype: 'uint8', shape: [columns!, rows], data: stored },
      scales: { dtype: 'float32', shape: [rows], data: scales.data },
    },
  };
}

/** A row-major matrix of `rows` rows, transposed. */
function transposed(data: Uint8Array, rows: number): Uint8Array {
  const columns = data.length / rows;
  const result = new Uint8Array(data.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) result[column * rows + row] = data[row * columns + column]!;
  }
  return result;
}
