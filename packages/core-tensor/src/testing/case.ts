import { allocate, type DType, encodeNumbers, isFloat, isInteger, type TypedArray } from '../dtype.js';
import { Key } from '../random/random.js';
import { type Shape, showShape, sizeOf } from '../shape.js';
import type { Tensor } from '../tensor.js';

/** One input of a case: the same numbers on every engine. */
export interface CaseInput {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly data: TypedArray;
}

/** One computation that every engine must get right. */
export interface ConformanceCase {
  /** The primitive or fused kernel that the case is about. */
  readonly op: string;
  /** Unique among all cases. */
  readonly name: string;
  readonly inputs: readonly CaseInput[];
  readonly run: (...inputs: Tensor[]) => readonly Tensor[];
  /** Positions of the inputs whose gradient is checked. */
  readonly variables: readonly number[];
  /** Replaces the tolerance of the output's dtype: |a - b| ≤ tolerance · (1 + |b|). */
  readonly tolerance?: number;
}

export interface SampleOptions {
  /** Bounds of the numbers. Default: -2 and 2 for floats, small integers otherwise. */
  readonly low?: number;
  readonly high?: number;
  /** Other seeds give other numbers. Default 0. */
  readonly seed?: number;
}

/**
 * Numbers for an input: all different where the dtype can hold that many, never 0 for floats, and inputs of different
 * seeds have no number in common, so that central differences meet neither kinks nor ties.
 */
export function sample(shape: Shape, dtype: DType = 'float32', options: SampleOptions = {}): CaseInput {
  const [defaultLow, defaultHigh] = isFloat(dtype) ? [-2, 2] : dtype === 'uint8' ? [0, 9] : [-5, 5];
  const { low = defaultLow, high = defaultHigh, seed = 0 } = options;
  const size = sizeOf(shape);
  const order = shuffled(size, seed);
  const offset = 0.21 + 0.07 * (seed % 4);
  const numbers = order.map((rank, i) => {
    if (dtype === 'bool') return rank % 2;
    const x = low + ((rank + offset) / size) * (high - low);
    return isInteger(dtype) ? Math.round(x) : Math.abs(x) < 1e-6 ? 0.01 * (i + 1) : x;
  });
  return { shape, dtype, data: encodeNumbers(numbers, dtype) };
}

/** An input with these very numbers. */
export function given(values: readonly number[], dtype: DType = 'float32', shape: Shape = [values.length]): CaseInput {
  const data = values.length === 0 ? allocate(dtype, 0) : encodeNumbers(values, dtype);
  return { shape, dtype, data };
}

/** Indices 0 … size - 1 of every kind an indexing primitive may meet: unordered and repeated. */
export const indices = (shape: Shape, size: number, seed = 0): CaseInput =>
  given(
    Array.from(Key.fromSeed(seed).uniformHost(sizeOf(shape)), (u) => Math.floor(u * size)),
    'int32',
    shape,
  );

function shuffled(size: number, seed: number): number[] {
  const order = Array.from({ length: size }, (_, i) => i);
  const random = Key.fromSeed(1000 + seed).uniformHost(size);
  for (let i = size - 1; i > 0; i--) {
    const j = Math.floor(random[i]! * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

const showInput = ({ dtype, shape }: CaseInput): string => `${dtype}${showShape(shape)}`;

export interface CaseOptions {
  /** What sets the case apart from others on the same inputs. */
  readonly note?: string;
  /** Default: every float32 and float16 input. */
  readonly variables?: readonly number[];
  readonly tolerance?: number;
}

/** A case named after its op, its inputs and its note. */
export function defineCase(
  op: string,
  inputs: readonly CaseInput[],
  run: (...inputs: Tensor[]) => Tensor | readonly Tensor[],
  { note, variables, tolerance }: CaseOptions = {},
): ConformanceCase {
  const differentiable = inputs.flatMap(({ dtype }, i) => (dtype === 'float32' || dtype === 'float16' ? [i] : []));
  return {
    op,
    name: [op, ...inputs.map(showInput), ...(note ? [note] : [])].join(' '),
    inputs,
    run: (...tensors) => [run(...tensors)].flat() as Tensor[],
    variables: variables ?? differentiable,
    ...(tolerance === undefined ? {} : { tolerance }),
  };
}
