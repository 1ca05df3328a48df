import { allocate, type DType, encodeNumbers, matchesDType, type TypedArray } from './dtype.js';
import { DTypeError, ShapeError } from './errors.js';
import { checkShape, normalizeAxis, sizeOf } from './shape.js';
import { apply, fromElsewhere, fromHost, type Tensor } from './tensor.js';

/** Numbers nested as deep as the tensor has axes. */
export type NestedNumbers = number | readonly NestedNumbers[];

/**
 * A tensor from numbers.
 *
 * - `tensor([[1, 2], [3, 4]])`: nested arrays, float32 unless a dtype is given.
 * - `tensor(new Float32Array(6), [2, 3])`: a host array and a shape, without a copy; do not write to it afterwards.
 *
 * Throws `ShapeError` for ragged nesting or a length that does not fit the shape, `DTypeError` for a host array of
 * another element type than `dtype`.
 */
export function tensor(values: NestedNumbers | TypedArray, shape?: readonly number[], dtype?: DType): Tensor {
  if (ArrayBuffer.isView(values)) {
    const host = values as TypedArray;
    const type = dtype ?? defaultDType(host);
    if (!matchesDType(host, type)) {
      throw new DTypeError('tensor', [type], `a ${host.constructor.name} does not hold this dtype`);
    }
    const dims = shape ?? [host.length];
    checkShape('tensor', dims);
    if (sizeOf(dims) !== host.length) {
      throw new ShapeError('tensor', [dims], `needs ${sizeOf(dims)} elements but the array has ${host.length}`);
    }
    return fromHost(host, dims, type);
  }
  const nested = nestedShape(values);
  const dims = shape ?? nested;
  checkShape('tensor', dims);
  const flat: number[] = [];
  flatten(values, nested, 0, flat);
  if (flat.length !== sizeOf(dims)) throw new ShapeError('tensor', [dims], `got ${flat.length} elements`);
  return fromHost(encodeNumbers(flat, dtype ?? 'float32'), dims, dtype ?? 'float32');
}

function defaultDType(host: TypedArray): DType {
  if (host instanceof Float32Array) return 'float32';
  if (host instanceof Int32Array) return 'int32';
  if (host instanceof Int8Array) return 'int8';
  if (host instanceof Uint8Array) return 'uint8';
  throw new DTypeError('tensor', [], `say which dtype a ${host.constructor.name} holds`);
}

function nestedShape(values: NestedNumbers): number[] {
  const shape: number[] = [];
  let level = values;
  while (typeof level !== 'number') {
    shape.push(level.length);
    if (level.length === 0) break;
    level = level[0]!;
  }
  return shape;
}

function flatten(values: NestedNumbers, shape: readonly number[], depth: number, out: number[]): void {
  if (typeof values === 'number') {
    if (depth !== shape.length) throw new ShapeError('tensor', [shape], 'the nested arrays are ragged');
    out.push(values);
    return;
  }
  if (values.length !== shape[depth]) throw new ShapeError('tensor', [shape], 'the nested arrays are ragged');
  for (const inner of values) flatten(inner, shape, depth + 1, out);
}

/** One number as a tensor without axes: how a per-step value (learning rate, step) enters a compiled function. */
export const scalar = (value: number, dtype: DType = 'float32'): Tensor =>
  tensor(encodeNumbers([value], dtype), [], dtype);

/** A tensor of this shape, every element the value. */
export const full = (shape: readonly number[], value: number, dtype: DType = 'float32'): Tensor =>
  apply('full', [], { shape, dtype, value });

/** A tensor of zeros. */
export const zeros = (shape: readonly number[], dtype: DType = 'float32'): Tensor => full(shape, 0, dtype);

/** A tensor of ones. */
export const ones = (shape: readonly number[], dtype: DType = 'float32'): Tensor => full(shape, 1, dtype);

/** Zeros in the shape and dtype of another tensor. */
export const zerosLike = (x: Tensor): Tensor => zeros(x.shape, x.dtype);

/** Ones in the shape and dtype of another tensor. */
export const onesLike = (x: Tensor): Tensor => ones(x.shape, x.dtype);

/** 0, 1, …, along `axis` of `shape`, constant along the other axes. */
export const iota = (shape: readonly number[], axis = 0, dtype: 'int32' | 'float32' = 'int32'): Tensor =>
  apply('iota', [], { shape, dtype, axis: normalizeAxis('iota', axis, shape) });

/** Zeros in memory of their own, as donated state (a cache, an optimizer's moments) needs. */
export const zerosBuffer = (shape: readonly number[], dtype: DType = 'float32'): Tensor =>
  fromHost(allocate(dtype, sizeOf(shape)), shape, dtype);

/**
 * A tensor whose elements are elsewhere (in a file): `read` gives them each time somebody asks, in an array that is not used again, and
 * nothing is held in between. An engine that computes with it takes a copy, and from then on has that.
 */
export const tensorElsewhere = (read: () => TypedArray, shape: readonly number[], dtype: DType = 'float32'): Tensor =>
  fromElsewhere(read, shape, dtype);
