import { assertKnownOptions } from '@posttrain/interfaces';
import { float16ToFloat32, float32ToFloat16 } from '../half-precision.js';
import { INT8_ZERO } from '../kernels/int8-matmul.js';
import { checkMatrix, type FloatMatrix, type Int8Weight, QuantizationError } from './quantized-weight.js';

export interface QuantizeInt8Options {
  /** A feature column of the activations in which some |x| reaches it is multiplied as floats; 0: none is. Default 6. */
  readonly threshold?: number;
}

/**
 * The weights of LLM.int8() (arXiv 2208.07339): each row is divided by its largest absolute value and rounded to
 * -127 … 127. As in bitsandbytes, the weight is rounded to float16 first; codes and scales are bitsandbytes' own.
 *
 * @throws QuantizationError for what is not a matrix of finite numbers
 */
export function quantizeInt8(weight: FloatMatrix, options: QuantizeInt8Options = {}): Int8Weight {
  assertKnownOptions('quantizeInt8', options, ['threshold']);
  const { threshold = 6 } = options;
  if (!(threshold >= 0)) throw new QuantizationError('quantizeInt8', `threshold ${threshold} is not 0 or more`);
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

function roundHalfEven(x: number): number {
  const up = Math.floor(x + 0.5);
  return up - x === 0.5 && up % 2 !== 0 ? up - 1 : up;
}
