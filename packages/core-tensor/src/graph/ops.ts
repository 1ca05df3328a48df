import type { DType, TypedArray } from '../dtype.js';
import type { KernelLowerings } from '../kernels/forwards.js';
import type { Shape } from '../shape.js';
import type { TensorSpec } from './spec.js';

/** An engine's own handle of device memory. Only the engine that made it looks inside. */
export interface EngineBuffer {
  readonly spec: TensorSpec;
}

/** The part of an engine that a tensor in its memory needs. */
export interface BufferHome {
  /** Device memory to host memory. May alias device memory where that is host memory: callers must not write to it. */
  read(buffer: EngineBuffer): Promise<TypedArray>;
  /**
   * Gives the memory of a buffer back: called at most once for a buffer, after its last use. Engines whose memory the
   * garbage collector sees need none. Memory that was donated is not freed: the call it was donated to took it over.
   */
  free?(buffer: EngineBuffer): void;
}

/**
 * Where the bytes of a realised tensor are: on the host, on an engine, or both.
 * A storage whose tensor was donated or disposed of is `consumed` and must not be read again.
 */
export interface Storage {
  readonly spec: TensorSpec;
  host?: TypedArray | undefined;
  device?: { readonly engine: BufferHome; readonly buffer: EngineBuffer } | undefined;
  consumed?: 'donated' | 'disposed';
  /** Whether it has been used on a device while its bytes stayed on the host. */
  wasUsed?: boolean;
}

/** The backward function of a `customVjp`: cotangents of the outputs in, cotangents of the inputs out. */
export type CustomBackward = (context: {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly cotangents: readonly (Value | undefined)[];
  /** For each input, whether its cotangent is asked for. */
  readonly needed: readonly boolean[];
}) => readonly (Value | undefined)[];

/**
 * A fused operation as graphs and engines see it, over values; authors write a `Kernel`, over tensors, and `applyKernel`
 * makes the one of the other.
 */
export interface GraphKernel {
  readonly name: string;
  readonly lower?: KernelLowerings<never>;
  infer(inputs: readonly TensorSpec[], config: unknown): readonly TensorSpec[];
  decompose?(inputs: readonly Value[], config: unknown, wanted?: readonly boolean[]): readonly Value[];
  vjp?(context: KernelVjpContext): readonly (Value | undefined)[];
}

/** What the vjp of a `GraphKernel` sees. */
export interface KernelVjpContext {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly cotangents: readonly (Value | undefined)[];
  readonly config: unknown;
  /** For each input, whether its cotangent is asked for. */
  readonly needed: readonly boolean[];
}

/** The attributes of every primitive. The keys of this table are the primitives. */
export interface OpAttributes {
  // Leaves.
  data: { readonly storage: Storage };
  input: { readonly spec: TensorSpec };
  full: { readonly shape: Shape; readonly dtype: DType; readonly value: number };
  /** 0, 1, 2, … along `axis`, constant along the others. */
  iota: { readonly shape: Shape; readonly dtype: 'int32' | 'float32'; readonly axis: number };
  /** Threefry-2x32 bits from an int32 [2] key, counted from 0 in row-major order. */
  randomBits: { readonly shape: Shape };

  // Elementwise, one input.
  neg: None;
  exp: None;
  log: None;
  sqrt: None;
  reciprocal: None;
  sin: None;
  cos: None;
  tanh: None;
  erf: None;
  sigmoid: None;
  abs: None;
  sign: None;
  floor: None;
  not: None;
  isNaN: None;
  cast: { readonly dtype: DType };

  // Elementwise, two inputs, broadcasting.
  add: None;
  sub: None;
  mul: None;
  div: None;
  pow: None;
  maximum: None;
  minimum: None;
  mod: None;
  equal: None;
  less: None;
  lessEqual: None;
  and: None;
  or: None;
  /** where(condition, a, b), broadcasting. */
  where: None;

  // Movement.
  reshape: { readonly shape: Shape };
  transpose: { readonly permutation: readonly number[] };
  broadcastTo: { readonly shape: Shape };
  slice: { readonly starts: readonly number[]; readonly ends: readonly number[]; readonly steps: readonly number[] };
  pad: { readonly low: readonly number[]; readonly high: readonly number[]; readonly value: number };
  concat: { readonly axis: number };

  // Reductions.
  sum: { readonly axes: readonly number[]; readonly keepDims: boolean };
  max: { readonly axes: readonly number[]; readonly keepDims: boolean };
  /** Index of the first largest element, int32. */
  argMax: { readonly axis: number; readonly keepDims: boolean };
  cumsum: { readonly axis: number; readonly exclusive: boolean; readonly reverse: boolean };
  /** Two outputs: values and int32 indices, largest first along the last axis. */
  topK: { readonly k: number };

  // Products.
  /** Batched: [..., m, k] x [..., k, n]; the flags say that the stored operand is transposed. */
  matmul: { readonly transposeA: boolean; readonly transposeB: boolean };

  // Indexing.
  /** gather(x, indices): x with `axis` replaced by the axes of int32 `indices`. */
  gather: { readonly axis: number };
  /** scatterAdd(indices, updates): the transpose of gather; `axis` has `size` rows, repeated indices add up. */
  scatterAdd: { readonly axis: number; readonly size: number };
  /** takeAlongAxis(x, indices): out[.., i, ..] = x[.., indices[.., i, ..], ..]; same rank. */
  takeAlongAxis: { readonly axis: number };
  /** addAlongAxis(indices, updates): the transpose of takeAlongAxis, into zeros with `size` along `axis`. */
  addAlongAxis: { readonly axis: number; readonly size: number };
  /** putAlongAxis(x, indices, updates): x with x[.., indices[.., i, ..], ..] replaced; indices must not repeat. */
  putAlongAxis: { readonly axis: number };

  // Order of execution.
  /** barrier(x, ...tokens): x, which nothing may start from before the tokens exist. */
  barrier: None;

  // Differentiation and fusion.
  stopGradient: None;
  /** inputs: [...outputs of the wrapped function, ...its inputs]; passes the first `outputs` through. */
  customVjp: { readonly outputs: number; readonly backward: CustomBackward };
  kernel: { readonly kernel: GraphKernel; readonly config: unknown };
}

type None = Readonly<Record<never, never>>;

/** A primitive operation. */
export type OpName = keyof OpAttributes;

/** One application of a primitive. Immutable, except that a leaf's storage can be consumed by donation. */
export interface GraphNode<Name extends OpName = OpName> {
  readonly id: number;
  readonly op: Name;
  readonly inputs: readonly Value[];
  readonly attributes: OpAttributes[Name];
  readonly outputs: readonly TensorSpec[];
  /** Where in the model it was made: see `nameScope`. */
  readonly scope?: string;
}

/** One output of a node. */
export interface Value {
  readonly node: GraphNode;
  readonly index: number;
}

/** A computation to lower: placeholders, the values asked for, and every node between, inputs before users. */
export interface Graph {
  readonly inputs: readonly GraphNode<'input'>[];
  readonly outputs: readonly Value[];
  readonly nodes: readonly GraphNode[];
}
