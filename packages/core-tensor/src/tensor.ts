import type { DType, TypedArray } from './dtype.js';
import { decodeNumbers } from './dtype.js';
import { ShapeError } from './errors.js';
import type { TensorSpec, Value } from './graph/node.js';
import { makeNode, makeValue, type OpAttributes, type OpName, type Storage, specOf } from './graph/node.js';
import { disposeLeaf, readHost } from './realize.js';
import { broadcastShapes, normalizeAxes, normalizeAxis, sameShape, showShape, sizeOf } from './shape.js';

/** A tensor, or a number that stands for a scalar of the other operand's dtype. */
export type Operand = Tensor | number;

/** One axis, several, or (left out) all of them; negative counts from the end. */
export type Axes = number | readonly number[];

/** Options of reductions. */
export interface ReduceOptions {
  /** Keep the reduced axes with size 1. Default false. */
  readonly keepDims?: boolean;
}

/**
 * An immutable, lazy, n-dimensional array: a node of a computation until somebody asks for its numbers.
 *
 * Operations only record what is to be computed. `await x.data()` (or `toArray`, `item`) runs the recorded graph on
 * the current engine; `compile` runs it many times. There is nothing to dispose. Binary operations broadcast as
 * NumPy does and need operands of one dtype. Wrong shapes and dtypes throw where the operation is written.
 */
export class Tensor {
  /** The graph value behind this handle; a leaf once the tensor has been realised. */
  value: Value;

  constructor(value: Value) {
    this.value = value;
  }

  get spec(): TensorSpec {
    return specOf(this.value);
  }
  get shape(): readonly number[] {
    return this.spec.shape;
  }
  get dtype(): DType {
    return this.spec.dtype;
  }
  get size(): number {
    return sizeOf(this.shape);
  }
  get rank(): number {
    return this.shape.length;
  }
  toString(): string {
    return `Tensor(${this.dtype}${showShape(this.shape)})`;
  }

  // ---- reading ----

  /** The elements in row-major order, as the host array of this dtype (float16/bfloat16 as raw bits). Do not write. */
  data(): Promise<TypedArray> {
    return readHost(this);
  }
  /** The elements as plain numbers, in row-major order. */
  async toArray(): Promise<number[]> {
    return Array.from(decodeNumbers(await this.data(), this.dtype));
  }
  /** The only element, as a number. Throws when there is not exactly one. */
  async item(): Promise<number> {
    if (this.size !== 1) throw new ShapeError('item', [this.shape], 'needs exactly one element');
    return decodeNumbers(await this.data(), this.dtype)[0]!;
  }

  /**
   * Gives the memory back now, after everything that was asked for before; using the tensor afterwards is an error.
   * Never needed: what nothing refers to is given back by itself, a little later.
   */
  dispose(): Promise<void> {
    return disposeLeaf(this);
  }

  // ---- elementwise ----

  neg(): Tensor {
    return apply('neg', [this], {});
  }
  exp(): Tensor {
    return apply('exp', [this], {});
  }
  log(): Tensor {
    return apply('log', [this], {});
  }
  sqrt(): Tensor {
    return apply('sqrt', [this], {});
  }
  reciprocal(): Tensor {
    return apply('reciprocal', [this], {});
  }
  rsqrt(): Tensor {
    return this.sqrt().reciprocal();
  }
  square(): Tensor {
    return this.mul(this);
  }
  sin(): Tensor {
    return apply('sin', [this], {});
  }
  cos(): Tensor {
    return apply('cos', [this], {});
  }
  tanh(): Tensor {
    return apply('tanh', [this], {});
  }
  erf(): Tensor {
    return apply('erf', [this], {});
  }
  sigmoid(): Tensor {
    return apply('sigmoid', [this], {});
  }
  abs(): Tensor {
    return apply('abs', [this], {});
  }
  sign(): Tensor {
    return apply('sign', [this], {});
  }
  floor(): Tensor {
    return apply('floor', [this], {});
  }
  not(): Tensor {
    return apply('not', [this], {});
  }
  isNaN(): Tensor {
    return apply('isNaN', [this], {});
  }
  /** Converts the elements. Float to integer truncates towards zero; anything to bool is "not zero". */
  cast(dtype: DType): Tensor {
    return dtype === this.dtype ? this : apply('cast', [this], { dtype });
  }
  add(other: Operand): Tensor {
    return apply('add', [this, operand(other, this)], {});
  }
  sub(other: Operand): Tensor {
    return apply('sub', [this, operand(other, this)], {});
  }
  mul(other: Operand): Tensor {
    return apply('mul', [this, operand(other, this)], {});
  }
  div(other: Operand): Tensor {
    return apply('div', [this, operand(other, this)], {});
  }
  /** this to the power of `other`; the gradient to the exponent needs a positive base. */
  pow(other: Operand): Tensor {
    return apply('pow', [this, operand(other, this)], {});
  }
  maximum(other: Operand): Tensor {
    return apply('maximum', [this, operand(other, this)], {});
  }
  minimum(other: Operand): Tensor {
    return apply('minimum', [this, operand(other, this)], {});
  }
  /** Limits every element to [low, high]. The gradient passes inside; it is zero outside and, as torch.clamp's, at the limits. */
  clamp(low: number | undefined, high: number | undefined): Tensor {
    const raised = low === undefined ? this : where(this.lessEqual(low), low, this);
    return high === undefined ? raised : where(raised.greaterEqual(high), high, raised);
  }
  /** Remainder with the sign of the divisor; int32 only. */
  mod(other: Operand): Tensor {
    return apply('mod', [this, operand(other, this)], {});
  }
  equal(other: Operand): Tensor {
    return apply('equal', [this, operand(other, this)], {});
  }
  notEqual(other: Operand): Tensor {
    return this.equal(other).not();
  }
  less(other: Operand): Tensor {
    return apply('less', [this, operand(other, this)], {});
  }
  lessEqual(other: Operand): Tensor {
    return apply('lessEqual', [this, operand(other, this)], {});
  }
  greater(other: Operand): Tensor {
    return apply('less', [operand(other, this), this], {});
  }
  greaterEqual(other: Operand): Tensor {
    return apply('lessEqual', [operand(other, this), this], {});
  }
  and(other: Tensor): Tensor {
    return apply('and', [this, other], {});
  }
  or(other: Tensor): Tensor {
    return apply('or', [this, other], {});
  }

  // ---- movement ----

  /** Same elements in a new shape; one dimension may be -1 and is then worked out. */
  reshape(shape: readonly number[]): Tensor {
    const known = shape.reduce((product, dim) => (dim === -1 ? product : product * dim), 1);
    const free = shape.filter((dim) => dim === -1).length;
    if (free > 1 || (free === 1 && !Number.isInteger(this.size / known))) {
      throw new ShapeError('reshape', [this.shape, shape], 'the dimension for -1 cannot be worked out');
    }
    const full = shape.map((dim) => (dim === -1 ? this.size / known : dim));
    return sameShape(full, this.shape) ? this : apply('reshape', [this], { shape: full });
  }
  /** Permutes the axes; left out, swaps the last two. */
  transpose(permutation?: readonly number[]): Tensor {
    const axes = this.shape.map((_, axis) => axis);
    if (!permutation && this.rank < 2) throw new ShapeError('transpose', [this.shape], 'needs at least two axes');
    const order = permutation ?? [...axes.slice(0, -2), this.rank - 1, this.rank - 2];
    return apply('transpose', [this], { permutation: order });
  }
  broadcastTo(shape: readonly number[]): Tensor {
    return sameShape(shape, this.shape) ? this : apply('broadcastTo', [this], { shape });
  }
  /** Inserts an axis of size 1 at `axis`. */
  expandDims(axis: number): Tensor {
    const at = axis < 0 ? axis + this.rank + 1 : axis;
    if (!Number.isInteger(at) || at < 0 || at > this.rank) {
      throw new ShapeError('expandDims', [this.shape], `axis ${axis} is outside the shape`);
    }
    return this.reshape([...this.shape.slice(0, at), 1, ...this.shape.slice(at)]);
  }
  /** Removes an axis of size 1. */
  squeeze(axis: number): Tensor {
    const at = normalizeAxis('squeeze', axis, this.shape);
    if (this.shape[at] !== 1) throw new ShapeError('squeeze', [this.shape], `axis ${axis} does not have size 1`);
    return this.reshape(this.shape.filter((_, i) => i !== at));
  }
  /** Elements `start` up to, not including, `end` along one axis; negative counts from the end. */
  slice(axis: number, start: number, end?: number, step = 1): Tensor {
    const at = normalizeAxis('slice', axis, this.shape);
    const dim = this.shape[at]!;
    const from = start < 0 ? start + dim : start;
    const to = end === undefined ? dim : end < 0 ? end + dim : end;
    const pick = (value: number, other: (dim: number) => number) =>
      this.shape.map((d, i) => (i === at ? value : other(d)));
    return apply('slice', [this], {
      starts: pick(from, () => 0),
      ends: pick(to, (d) => d),
      steps: pick(step, () => 1),
    });
  }
  /** Adds `low` elements before and `high` after along one axis. */
  pad(axis: number, low: number, high: number, value = 0): Tensor {
    const at = normalizeAxis('pad', axis, this.shape);
    const width = (n: number) => this.shape.map((_, i) => (i === at ? n : 0));
    return apply('pad', [this], { low: width(low), high: width(high), value });
  }

  // ---- reductions ----

  sum(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return apply('sum', [this], reduction('sum', this, axes, options));
  }
  mean(axes?: Axes, options: ReduceOptions = {}): Tensor {
    const count = normalizeAxes('mean', axes, this.shape).reduce((n, axis) => n * this.shape[axis]!, 1);
    return this.sum(axes, options).mul(1 / count);
  }
  max(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return apply('max', [this], reduction('max', this, axes, options));
  }
  min(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return this.neg().max(axes, options).neg();
  }
  /** int32 index of the first largest element along one axis. */
  argMax(axis: number, { keepDims = false }: ReduceOptions = {}): Tensor {
    return apply('argMax', [this], { axis: normalizeAxis('argMax', axis, this.shape), keepDims });
  }
  cumsum(axis: number, { exclusive = false, reverse = false } = {}): Tensor {
    return apply('cumsum', [this], { axis: normalizeAxis('cumsum', axis, this.shape), exclusive, reverse });
  }
  /** The k largest along the last axis, largest first, and their int32 indices. */
  topK(k: number): { values: Tensor; indices: Tensor } {
    const [values, indices] = applyMany('topK', [this], { k });
    return { values: values!, indices: indices! };
  }

  // ---- products and indexing ----

  /** Batched matrix product [..., m, k] x [..., k, n]; a flag says that the operand is stored transposed. */
  matmul(other: Tensor, { transposeA = false, transposeB = false } = {}): Tensor {
    return apply('matmul', [this, other], { transposeA, transposeB });
  }
  /** Rows along `axis`, chosen by int32 indices of any shape, which replaces that axis. */
  gather(indices: Tensor, axis = 0): Tensor {
    return apply('gather', [this, indices], { axis: normalizeAxis('gather', axis, this.shape) });
  }
  /** One element per position along `axis`, chosen by int32 indices of the same rank. */
  takeAlongAxis(indices: Tensor, axis: number): Tensor {
    return apply('takeAlongAxis', [this, indices], { axis: normalizeAxis('takeAlongAxis', axis, this.shape) });
  }
  /** A copy with the elements at int32 `indices` along `axis` replaced; indices must not repeat. */
  putAlongAxis(indices: Tensor, updates: Tensor, axis: number): Tensor {
    return apply('putAlongAxis', [this, indices, updates], { axis: normalizeAxis('putAlongAxis', axis, this.shape) });
  }
}

function operand(value: Operand, like: Tensor): Tensor {
  return typeof value === 'number' ? apply('full', [], { shape: [], dtype: like.dtype, value }) : value;
}

function reduction(op: string, x: Tensor, axes: Axes | undefined, { keepDims = false }: ReduceOptions) {
  return { axes: normalizeAxes(op, axes, x.shape), keepDims };
}

/** Applies a primitive with one output. */
export function apply<Name extends OpName>(
  op: Name,
  inputs: readonly Tensor[],
  attributes: OpAttributes[Name],
): Tensor {
  return new Tensor(
    makeValue(
      op,
      inputs.map((x) => x.value),
      attributes,
    ),
  );
}

/** Applies a primitive with several outputs. */
export function applyMany<Name extends OpName>(
  op: Name,
  inputs: readonly Tensor[],
  attributes: OpAttributes[Name],
): Tensor[] {
  const node = makeNode(
    op,
    inputs.map((x) => x.value),
    attributes,
  );
  return node.outputs.map((_, index) => new Tensor({ node, index }));
}

/** A tensor over host memory, which must not be written to afterwards. */
export function fromHost(host: TypedArray, shape: readonly number[], dtype: DType): Tensor {
  const storage: Storage = { spec: { shape, dtype }, host };
  return apply('data', [], { storage });
}

/** A leaf whose elements `read` gives, until they have moved to an engine. */
export function fromElsewhere(read: () => TypedArray, shape: readonly number[], dtype: DType): Tensor {
  let host: (() => TypedArray) | undefined = read;
  const storage: Storage = {
    spec: { shape, dtype },
    get host() {
      return host?.();
    },
    set host(given) {
      host = given && (() => given);
    },
  };
  return apply('data', [], { storage });
}

/** where(condition, a, b): elements of `a` where the bool condition holds, of `b` elsewhere; broadcasts. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  const like = a instanceof Tensor ? a : b instanceof Tensor ? b : undefined;
  if (!like) throw new ShapeError('where', [condition.shape], 'needs a tensor for at least one of its two branches');
  return apply('where', [condition, operand(a, like), operand(b, like)], {});
}

/** Joins tensors along an axis that exists in all of them. */
export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  const first = tensors[0];
  if (!first) throw new ShapeError('concat', [], 'needs at least one tensor');
  if (tensors.length === 1) return first;
  return apply('concat', tensors, { axis: normalizeAxis('concat', axis, first.shape) });
}

/** Joins tensors of one shape along a new axis. */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  return concat(
    tensors.map((x) => x.expandDims(axis)),
    axis,
  );
}

/** zeros[size along axis] with `updates` added at int32 `indices`: the transpose of `gather`. `axis` counts from 0. */
export function scatterAdd(indices: Tensor, updates: Tensor, options: { axis: number; size: number }): Tensor {
  return apply('scatterAdd', [indices, updates], options);
}

/** zeros[size along axis] with `updates` added at int32 `indices` of the same shape: the transpose of `takeAlongAxis`. */
export function addAlongAxis(indices: Tensor, updates: Tensor, options: { axis: number; size: number }): Tensor {
  const { axis, size } = options;
  return apply('addAlongAxis', [indices, updates], { axis: normalizeAxis('addAlongAxis', axis, updates.shape), size });
}

/** Sums the axes that broadcasting from `shape` added or stretched: the transpose of `broadcastTo`. */
export function sumToShape(x: Tensor, shape: readonly number[]): Tensor {
  if (sameShape(x.shape, shape)) return x;
  broadcastShapes('sumToShape', x.shape, shape);
  const extra = x.rank - shape.length;
  const axes = x.shape.map((_, i) => i).filter((i) => i < extra || (shape[i - extra] === 1 && x.shape[i] !== 1));
  return x.sum(axes, { keepDims: true }).reshape(shape);
}
