import type { DType, TypedArray } from '../dtype.js';
import type { Engine, EngineBuffer } from '../engines/engine.js';
import type { Kernel } from '../kernels/kernel.js';
import { type Shape, sameShape } from '../shape.js';
import { inferOutputs } from './rules.js';

/** Shape and element type of one tensor. */
export interface TensorSpec {
  readonly shape: Shape;
  readonly dtype: DType;
}

export const sameSpec = (a: TensorSpec, b: TensorSpec): boolean =>
  a === b || (a.dtype === b.dtype && sameShape(a.shape, b.shape));

/**
 * Where the bytes of a realised tensor are: on the host, on an engine, or both.
 * A storage whose tensor was donated or disposed of is `consumed` and must not be read again.
 */
export interface Storage {
  readonly spec: TensorSpec;
  host?: TypedArray | undefined;
  device?: { readonly engine: Engine; readonly buffer: EngineBuffer } | undefined;
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
  kernel: { readonly kernel: Kernel<never>; readonly config: unknown };
}

type None = Readonly<Record<never, never>>;

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

export const specOf = (value: Value): TensorSpec => value.node.outputs[value.index]!;

/** Whether a node is an application of `op`; narrows its attributes. */
export function isOp<Name extends OpName>(node: GraphNode, op: Name): node is GraphNode<Name> {
  return node.op === op;
}

let nextId = 0;

/** The id that the next node gets: a node made from now on has this id or a larger one. */
export const nextNodeId = (): number => nextId;

let currentScope: string | undefined;

/**
 * Runs `f`, and notes `name` on every operation that is recorded meanwhile: a module's path, for messages such as those of
 * `findNonFinite`. The innermost name counts; undefined stands for none.
 */
export function nameScope<T>(name: string | undefined, f: () => T): T {
  const outer = currentScope;
  currentScope = name;
  try {
    return f();
  } finally {
    currentScope = outer;
  }
}

/** Makes a node, checking shapes and dtypes; throws `ShapeError` or `DTypeError` naming the op. */
export function makeNode<Name extends OpName>(
  op: Name,
  inputs: readonly Value[],
  attributes: OpAttributes[Name],
): GraphNode<Name> {
  const outputs = inferOutputs(op, inputs.map(specOf), attributes);
  const node = { id: nextId++, op, inputs, attributes, outputs };
  return currentScope === undefined ? node : { ...node, scope: currentScope };
}

/** Makes a node with one output and returns that output. */
export function makeValue<Name extends OpName>(
  op: Name,
  inputs: readonly Value[],
  attributes: OpAttributes[Name],
): Value {
  return { node: makeNode(op, inputs, attributes), index: 0 };
}

/** A computation to lower: placeholders, the values asked for, and every node between, inputs before users. */
export interface Graph {
  readonly inputs: readonly GraphNode<'input'>[];
  readonly outputs: readonly Value[];
  readonly nodes: readonly GraphNode[];
}

/**
 * All nodes that `outputs` need, each after its inputs; nodes for which `known` holds are left out, with what only
 * they need. Outputs come in the order in which they were made, not that of the list, so that what was written for one
 * parameter after the other also runs so, and memory for one at a time is enough. Iterative, so depth is not limited by
 * the stack.
 */
export function topologicalOrder(outputs: readonly Value[], known?: (node: GraphNode) => boolean): GraphNode[] {
  const order: GraphNode[] = [];
  const state = new Map<GraphNode, 'open' | 'done'>();
  const stack: GraphNode[] = outputs.map((v) => v.node).sort((a, b) => b.id - a.id);
  while (stack.length > 0) {
    const node = stack[stack.length - 1]!;
    if (known?.(node)) {
      stack.pop();
    } else if (state.get(node) === undefined) {
      state.set(node, 'open');
      for (let i = node.inputs.length - 1; i >= 0; i--) {
        const input = node.inputs[i]!.node;
        if (state.get(input) === undefined) stack.push(input);
      }
    } else {
      stack.pop();
      if (state.get(node) === 'open') {
        state.set(node, 'done');
        order.push(node);
      }
    }
  }
  return order;
}
