import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './half-precision.js';

/** The element types a tensor can have. `bfloat16` is a storage type: cast before computing with it. */
export const DTYPES = ['float32', 'float16', 'bfloat16', 'int32', 'int8', 'uint8', 'bool'] as const;
/** An element type. */
export type DType = (typeof DTYPES)[number];

/**
 * Host arrays per element type. `float16` and `bfloat16` are raw bits in a `Uint16Array`; `bool` is 0 or 1 in a
 * `Uint8Array`. `Float64Array` occurs only on the reference engine, as the value of a float tensor.
 */
export type TypedArray = Float32Array | Float64Array | Uint16Array | Int32Array | Int8Array | Uint8Array;

const ARRAYS = {
  float32: Float32Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int32: Int32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const;

/** The kind of host array that holds elements of `dtype`. */
export const arrayType = (dtype: DType): (typeof ARRAYS)[DType] => ARRAYS[dtype];

export const isFloat = (dtype: DType): boolean => dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16';

export const isInteger = (dtype: DType): boolean => dtype === 'int32' || dtype === 'int8' || dtype === 'uint8';

/** Smallest and largest value of the types that hold whole numbers only. */
export const INTEGER_RANGES: Readonly<Record<'int32' | 'int8' | 'uint8' | 'bool', readonly [number, number]>> = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  int8: [-128, 127],
  uint8: [0, 255],
  bool: [0, 1],
};

/** Whether a tensor of `dtype` can hold the number, up to the rounding of floats. */
export function canHold(dtype: DType, value: number): boolean {
  if (dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16') return true;
  const [low, high] = INTEGER_RANGES[dtype];
  return Number.isInteger(value) && value >= low && value <= high;
}

/** A zero-filled host array for `size` elements. */
export const allocate = (dtype: DType, size: number): TypedArray => new (arrayType(dtype))(size);

/** Whether `array` is the host array kind of `dtype`; of an unknown dtype, none is. */
export const matchesDType = (array: TypedArray, dtype: DType): boolean =>
  Object.hasOwn(ARRAYS, dtype) && array instanceof arrayType(dtype);

/**
 * A new host array of `dtype` holding the given numbers, rounded as that type rounds; integers wrap, booleans become 0
 * or 1.
 */
export function encodeNumbers(values: ArrayLike<number>, dtype: DType): TypedArray {
  if (dtype === 'float16') return float32ToFloat16(new Float32Array(values));
  if (dtype === 'bfloat16') return float32ToBfloat16(new Float32Array(values));
  if (dtype === 'bool') return Uint8Array.from(values, (value) => (value !== 0 ? 1 : 0));
  return new (arrayType(dtype))(values);
}

/** The numbers in a host array of `dtype`. */
export function decodeNumbers(array: TypedArray, dtype: DType): Float64Array {
  if (!(array instanceof Uint16Array)) return new Float64Array(array);
  return new Float64Array(dtype === 'float16' ? float16ToFloat32(array) : bfloat16ToFloat32(array));
}
