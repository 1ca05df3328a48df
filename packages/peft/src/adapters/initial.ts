import { type Key, type Tensor, tensor } from '@posttrain/core-tensor';

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Uniform in ±bound. Drawn on the host: one small graph a target would take longer to load than to run. */
export const uniformWithin = (key: Key, shape: readonly number[], bound: number): Tensor =>
  tensor(
    Float32Array.from(key.uniformHost(sizeOf(shape)), (u) => 2 * bound * u - bound),
    [...shape],
  );

/** As torch starts a weight [out, in] of a linear layer: uniform in ±1/√in. */
export const linearStart = (key: Key, shape: readonly [number, number]): Tensor =>
  uniformWithin(key, shape, shape[1] ** -0.5);

/** Normal, drawn on the host. */
export const normalWith = (key: Key, shape: readonly number[], deviation = 1): Tensor =>
  tensor(
    key.normalHost(sizeOf(shape)).map((x) => x * deviation),
    [...shape],
  );
