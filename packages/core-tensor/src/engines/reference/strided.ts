import { sizeOf, stridesOf } from '../../shape.js';

/** The values of one tensor inside the reference engine: float64 for floats, exact integers otherwise. */
export type Values = Float64Array | Int32Array | Int8Array | Uint8Array;

/** Calls `visit(outIndex, inIndex)` for every element of `shape`, with the input walked by its own strides. */
export function walk(
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  visit: (out: number, source: number) => void,
): void {
  const size = sizeOf(shape);
  const index = new Array<number>(shape.length).fill(0);
  let source = offset;
  for (let out = 0; out < size; out++) {
    visit(out, source);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]!++;
      source += strides[axis]!;
      if (index[axis]! < shape[axis]!) break;
      source -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
}

/** Strides that read an array of shape `from` as if it were broadcast to `to`. */
export function broadcastStrides(from: readonly number[], to: readonly number[]): number[] {
  const strides = stridesOf(from);
  const extra = to.length - from.length;
  return to.map((_, axis) => (axis < extra || from[axis - extra] === 1 ? 0 : strides[axis - extra]!));
}

/** For every element of `to`, the flat index of the element of `from` that broadcasting puts there. */
export function broadcastIndex(from: readonly number[], to: readonly number[]): Int32Array {
  const map = new Int32Array(sizeOf(to));
  walk(to, broadcastStrides(from, to), 0, (out, source) => {
    map[out] = source;
  });
  return map;
}

/** An axis as [outer, size, inner]: element (o, i, n) is at (o * size + i) * inner + n. */
export function splitAxis(shape: readonly number[], axis: number): { outer: number; size: number; inner: number } {
  return { outer: sizeOf(shape.slice(0, axis)), size: shape[axis]!, inner: sizeOf(shape.slice(axis + 1)) };
}
