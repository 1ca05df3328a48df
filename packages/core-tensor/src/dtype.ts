/** The element types a tensor can have. `bfloat16` is a storage type: cast before computing with it. */
export const DTYPES = ['float32', 'float16', 'bfloat16', 'int32', 'int8', 'uint8', 'bool'] as const;
export type DType = (typeof DTYPES)[number];

/**
 * Host arrays per element type. `float16` and `bfloat16` are raw bits in a `Uint16Array`; `bool` is 0 or 1 in a
 * `Uint8Array`. `Float64Array` occurs only on the reference engine, as the value of a float tensor.
 */
export type TypedArray = Float32Array | Float64Array | Uint16Array | Int32Array | Int8Array | Uint8Array;

const BYTES: Record<DType, number> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int32: 4,
  int8: 1,
  uint8: 1,
  bool: 1,
};

export const bytesPerElement = (dtype: DType): number => BYTES[dtype];

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
export function allocate(dtype: DType, size: number): TypedArray {
  switch (dtype) {
    case 'float32':
      return new Float32Array(size);
    case 'float16':
    case 'bfloat16':
      return new Uint16Array(size);
    case 'int32':
      return new Int32Array(size);
    case 'int8':
      return new Int8Array(size);
    case 'uint8':
    case 'bool':
      return new Uint8Array(size);
  }
}

/** Whether `array` is the host array kind of `dtype`. */
export function matchesDType(array: TypedArray, dtype: DType): boolean {
  switch (dtype) {
    case 'float32':
      return array instanceof Float32Array;
    case 'float16':
    case 'bfloat16':
      return array instanceof Uint16Array;
    case 'int32':
      return array instanceof Int32Array;
    case 'int8':
      return array instanceof Int8Array;
    case 'uint8':
    case 'bool':
      return array instanceof Uint8Array;
  }
}

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** Nearest bfloat16 (ties to even) of a number, as its 16 bits. */
export function toBfloat16Bits(value: number): number {
  f32[0] = value;
  const bits = u32[0]!;
  if (Number.isNaN(value)) return 0x7fc0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

export function fromBfloat16Bits(bits: number): number {
  u32[0] = bits << 16;
  return f32[0]!;
}

/** Nearest float16 (ties to even) of a number, as its 16 bits; overflows to infinity. */
export function toFloat16Bits(value: number): number {
  f32[0] = value;
  const bits = u32[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal half: adding 0.5 in float32 aligns and rounds the mantissa to 2^-24 units.
    u32[0] = magnitude;
    f32[0] = f32[0]! + 0.5;
    return sign | (u32[0]! - 0x3f000000);
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

export function fromFloat16Bits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 0x1f) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** Reads element `i` of a host array of `dtype` as a number. */
export function decodeElement(array: TypedArray, dtype: DType, i: number): number {
  const raw = array[i]!;
  if (array instanceof Uint16Array) return dtype === 'float16' ? fromFloat16Bits(raw) : fromBfloat16Bits(raw);
  return raw;
}

/** The bits or value to store for a number in a host array of `dtype`; integers wrap, booleans become 0 or 1. */
export function encodeElement(value: number, dtype: DType): number {
  switch (dtype) {
    case 'float16':
      return toFloat16Bits(value);
    case 'bfloat16':
      return toBfloat16Bits(value);
    case 'bool':
      return value !== 0 ? 1 : 0;
    default:
      return value;
  }
}

/** A new host array of `dtype` holding the given numbers, rounded as that type rounds. */
export function encodeNumbers(values: ArrayLike<number>, dtype: DType): TypedArray {
  const out = allocate(dtype, values.length);
  for (let i = 0; i < values.length; i++) out[i] = encodeElement(values[i]!, dtype);
  return out;
}

/** The numbers in a host array of `dtype`. */
export function decodeNumbers(array: TypedArray, dtype: DType): Float64Array {
  const out = new Float64Array(array.length);
  for (let i = 0; i < array.length; i++) out[i] = decodeElement(array, dtype, i);
  return out;
}
