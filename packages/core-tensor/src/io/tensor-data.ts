import { PosttrainError } from '@posttrain/interfaces';
import type { DType } from '../dtype.js';
import { allocate, DTYPES, matchesDType } from '../dtype.js';
import { sizeOf } from '../shape.js';
import { InvalidTensorError } from './errors.js';
import type { SafetensorsDType } from './safetensors-header.js';

/** The array that holds each dtype's elements. */
export interface DTypeArrays {
  readonly float32: Float32Array;
  readonly float16: Uint16Array;
  readonly bfloat16: Uint16Array;
  readonly int32: Int32Array;
  readonly int8: Int8Array;
  readonly uint8: Uint8Array;
  readonly bool: Uint8Array;
}

/** The array that holds elements of a dtype. */
export type DTypeArray = DTypeArrays[DType];

/** A tensor as plain data: row-major elements, as many as the product of `shape`. */
export type TensorData = {
  [D in DType]: { readonly dtype: D; readonly shape: readonly number[]; readonly data: DTypeArrays[D] };
}[DType];

const FORMAT_NAMES = {
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  int32: 'I32',
  int8: 'I8',
  uint8: 'U8',
  bool: 'BOOL',
} as const satisfies Record<DType, SafetensorsDType>;

const ENGINE_NAMES = new Map<SafetensorsDType, DType>(
  (Object.keys(FORMAT_NAMES) as DType[]).map((dtype) => [FORMAT_NAMES[dtype], dtype]),
);

/** The name a safetensors header has for `dtype`. */
export function toSafetensorsDType(dtype: DType): SafetensorsDType {
  return FORMAT_NAMES[dtype];
}

/** The engine's dtype for a header's name; undefined when the engine has none. */
export function fromSafetensorsDType(dtype: SafetensorsDType): DType | undefined {
  return ENGINE_NAMES.get(dtype);
}

/** Pairs dtype, shape and data. @throws InvalidTensorError when `data` is not the dtype's array or has another length. */
export function tensorData(where: string, dtype: DType, shape: readonly number[], data: DTypeArray): TensorData {
  checkArray(where, dtype, shape, data);
  return { dtype, shape, data } as TensorData;
}

/** @throws InvalidTensorError when `array` cannot hold exactly `shape` in `dtype`. */
export function checkArray(where: string, dtype: DType, shape: readonly number[], array: DTypeArray): void {
  if (!DTYPES.includes(dtype)) throw new InvalidTensorError(where, `"${dtype}" is not a dtype of the engine.`);
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw new InvalidTensorError(where, `the shape [${shape.join(', ')}] is not a list of sizes.`);
  }
  if (!matchesDType(array, dtype) || array.length !== sizeOf(shape)) {
    throw new InvalidTensorError(
      where,
      `shape [${shape.join(', ')}] in ${dtype} needs a ${allocate(dtype, 0).constructor.name} of ${sizeOf(shape)} elements, ` +
        `not a ${array?.constructor?.name ?? typeof array} of ${array?.length}.`,
    );
  }
}

/** The bytes of `array`, sharing its memory. */
export function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** Safetensors is little-endian and typed arrays are the host's; every platform Node 20 runs on but s390x agrees. */
export function assertLittleEndian(): void {
  if (new Uint8Array(Uint16Array.of(1).buffer)[0] === 1) return;
  throw new PosttrainError('BIG_ENDIAN_HOST', 'safetensors files can only be read and written on little-endian hosts.');
}
