import { encodeNumbers } from '../../dtype.js';
import type { OnnxAttributes } from '../../kernels/onnx-forward.js';
import { sameShape } from '../../shape.js';
import {
  type ExternalOnnxTensor,
  KERNEL_DOMAIN,
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxNode,
  type OnnxTensor,
  type OnnxType,
  type OnnxValue,
} from './proto.js';

const MICROSOFT_OPS = new Set([
  'FusedMatMul',
  'GroupQueryAttention',
  'MatMulBnb4',
  'MatMulNBits',
  'QuickGelu',
  'RotaryEmbedding',
  'SkipSimplifiedLayerNormalization',
]);

/** Operators of our own, whose results' shapes are written down. All results are float32. */
const OWN_OPERATORS = new Set(['Product', 'Quantized', 'Chain', 'Attention', 'AttentionGradient']);

const LONGEST_CONSTANT_RANGE = 64;

/** Bytes: equal constants up to this size are one, such as the positions that every layer turns its queries by. */
const LARGEST_SHARED_CONSTANT = 2 ** 16;

/** ONNX Runtime checks that the file of an external initializer is there; this one is beside every model that it is given. */
const GIVEN = 'package.json';

/** Collects the nodes of an ONNX graph. A value is its name; every method that makes one returns it. */
export class OnnxGraphBuilder {
  readonly #nodes: OnnxNode[] = [];
  readonly #inputs: OnnxValue[] = [];
  readonly #outputs: (OnnxValue & { readonly value: string })[] = [];
  readonly #initializers = new Map<string, OnnxTensor | ExternalOnnxTensor>();
  readonly #constants = new Map<string, string>();
  /** Of the values whose shape is known. */
  readonly #shapes = new Map<string, readonly number[]>();
  /** What a value is a reshape of. */
  readonly #sources = new Map<string, string>();
  readonly #shared = new Map<string, string>();
  readonly #standard: boolean;

  /** `standard` keeps to the operators of ONNX itself. */
  constructor(standard = false) {
    this.#standard = standard;
  }

  input(name: string, type: OnnxType, shape: readonly number[]): string {
    this.#inputs.push({ name, type, shape });
    return this.shaped(name, shape);
  }

  /** Makes `value` the graph output called `name`. */
  output(value: string, name: string, type: OnnxType, shape: readonly number[]): void {
    this.#outputs.push({ value, name, type, shape });
  }

  /** An external initializer in memory that the session is given: the file that it names is never read. */
  givenConstant(name: string, type: OnnxType, shape: readonly number[]): string {
    this.#initializers.set(name, { type, shape, external: { location: GIVEN, offset: 0, length: 0 } });
    return this.shaped(name, shape);
  }

  /** An embedded constant; equal small ones are deduplicated. */
  constant(type: OnnxType, shape: readonly number[], values: ArrayLike<number>): string {
    const data =
      type === 'int64' ? BigInt64Array.from(Array.from(values, BigInt)) : encodeNumbers(values, dtypeOf(type));
    return this.shaped(this.initializer({ type, shape, data }), shape);
  }

  /** A constant under a name of its own. */
  namedConstant(name: string, tensor: OnnxTensor): string {
    this.#initializers.set(name, tensor);
    return name;
  }

  initializer(tensor: OnnxTensor): string {
    const { type, shape, data } = tensor;
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    const key = bytes.length <= LARGEST_SHARED_CONSTANT ? `${type} ${shape} ${bytes.toString('latin1')}` : undefined;
    const known = key === undefined ? undefined : this.#constants.get(key);
    if (known !== undefined) return known;
    const name = this.namedConstant(`c${this.#initializers.size}`, tensor);
    if (key !== undefined) this.#constants.set(key, name);
    return name;
  }

  /** A vector of int64: shapes, axes and positions. */
  ints(values: readonly number[]): string {
    return this.constant('int64', [values.length], values);
  }

  /** 0, 1, … as a vector: a constant while short, counted when the graph runs otherwise. */
  range(type: 'int32' | 'float32', length: number): string {
    if (length <= LONGEST_CONSTANT_RANGE)
      return this.constant(
        type,
        [length],
        Array.from({ length }, (_, i) => i),
      );
    return this.op(
      'Range',
      [0, length, 1].map((value) => this.constant(type, [], [value])),
    );
  }

  /** Number of nodes so far. */
  get size(): number {
    return this.#nodes.length;
  }

  /** Names of the nodes from number `start` on. */
  nodeNames(start: number): string[] {
    return this.#nodes.slice(start).map(({ name }) => name ?? '');
  }

  op(op: string, inputs: readonly string[], attributes: OnnxAttributes = {}): string {
    return this.ops(op, inputs, 1, attributes)[0]!;
  }

  /** `domain` is known for the ops that the engine emits itself. Outputs at `omitted` are not computed. */
  ops(
    op: string,
    inputs: readonly string[],
    count: number,
    attributes: OnnxAttributes = {},
    domain = MICROSOFT_OPS.has(op) ? 'com.microsoft' : '',
    omitted: readonly number[] = [],
  ): string[] {
    const name = `n${this.#nodes.length}`;
    const outputs = Array.from({ length: count }, (_, i) =>
      omitted.includes(i) ? '' : i === 0 ? name : `${name}.${i}`,
    );
    const encoded = Object.fromEntries(Object.entries(attributes).map(([key, value]) => [key, encode(value)]));
    this.#nodes.push({ op, domain, name: `${op}_${name}`, inputs, outputs, attributes: encoded });
    return outputs;
  }

  /** `to` is a code of `onnxTypes`. */
  cast(value: string, to: number): string {
    const name = this.op('Cast', [value], { to });
    const shape = this.#shapes.get(value);
    return shape ? this.shaped(name, shape) : name;
  }

  /** Shape inference: notes what shape a value has, so that reshapes of it and back are elided. */
  shaped(value: string, shape: readonly number[]): string {
    this.#shapes.set(value, shape);
    return value;
  }

  /** Common subexpression elimination: an op that is emitted once. */
  sharedOp(op: string, inputs: readonly string[], attributes: OnnxAttributes = {}): string {
    const key = JSON.stringify([op, inputs, attributes]);
    const name = this.#shared.get(key) ?? this.op(op, inputs, attributes);
    this.#shared.set(key, name);
    return name;
  }

  reshape(value: string, shape: readonly number[]): string {
    const source = this.#sources.get(value) ?? value;
    const known = this.#shapes.get(source);
    if (known && sameShape(known, shape)) return source;
    const name = this.sharedOp('Reshape', [source, this.ints(shape)]);
    this.#sources.set(name, source);
    return this.shaped(name, shape);
  }

  /**
   * Reshape elision for elementwise ops: numbers and values of one shape, in the shape that the first reshape among them
   * is of.
   */
  beforeReshape(values: readonly string[]): { readonly values: readonly string[]; readonly shape?: readonly number[] } {
    const isNumber = (value: string) => this.#shapes.get(value)?.length === 0;
    const whole = values.filter((value) => !isNumber(value));
    const [first, ...others] = whole.map((value) => this.#shapes.get(value));
    if (!first || others.some((other) => !other || !sameShape(other, first))) return { values };
    const shape = whole.map((value) => this.#shapes.get(this.#sources.get(value) ?? '')).find((source) => source);
    if (!shape) return { values };
    return { values: values.map((value) => (isNumber(value) ? value : this.reshape(value, shape))), shape };
  }

  /** What a value is a reshape of, where that has rows and the same last axis; itself otherwise. */
  rowsOf(value: string): { readonly value: string; readonly shape?: readonly number[] } {
    const shape = this.#shapes.get(value);
    const source = this.#sources.get(value);
    const before = source === undefined ? undefined : this.#shapes.get(source);
    if (source !== undefined && before && before.length > 1 && before.at(-1) === shape?.at(-1))
      return { value: source, shape: before };
    return { value, ...(shape ? { shape } : {}) };
  }

  /** What `write` gives for the rows of a value, which stay in the axes that they come in: a reshape is one more node. */
  byRows(value: string, shape: readonly number[], write: (rows: string) => string): string {
    const { value: rows, shape: given } = this.rowsOf(value);
    const result = write(rows);
    return this.reshape(this.shaped(result, given ? [...given.slice(0, -1), shape.at(-1)!] : shape), shape);
  }

  transpose(value: string, perm: readonly number[]): string {
    return this.op('Transpose', [value], { perm });
  }

  /** alpha · op(a) op(b) + addend by a kernel of our own, in one of its arithmetics. The addend has the shape of the result. */
  product(
    a: string,
    b: string,
    arithmetic: number,
    { transA = false, transB = false, alpha = 1, addend }: ProductFlags,
  ): string {
    const inputs = addend === undefined ? [a, b] : [a, b, addend];
    const attributes = { arithmetic, alpha: { float: alpha }, transA: Number(transA), transB: Number(transB) };
    return this.ops('Product', inputs, 1, attributes, KERNEL_DOMAIN)[0]!;
  }

  /** alpha · op(a) op(b), batched, where op transposes the last two axes if its flag is set. */
  matmul(a: string, b: string, { transA = false, transB = false, alpha = 1, ranks }: MatmulFlags = {}): string {
    if (!transA && !transB && alpha === 1) return this.op('MatMul', [a, b]);
    if (this.#standard) return this.#standardMatmul(a, b, { transA, transB, alpha, ranks: ranks ?? [2, 2] });
    return this.op('FusedMatMul', [a, b], { alpha: { float: alpha }, transA: Number(transA), transB: Number(transB) });
  }

  #standardMatmul(a: string, b: string, { transA, transB, alpha, ranks }: Required<MatmulFlags>): string {
    if (ranks[0] === 2 && ranks[1] === 2) {
      return this.op('Gemm', [a, b], { alpha: { float: alpha }, transA: Number(transA), transB: Number(transB) });
    }
    const swapped = (value: string, rank: number) => {
      const axes = Array.from({ length: rank }, (_, axis) => axis);
      return this.transpose(value, [...axes.slice(0, -2), rank - 1, rank - 2]);
    };
    const [left, right] = [transA ? swapped(a, ranks[0]) : a, transB ? swapped(b, ranks[1]) : b];
    const product = this.op('MatMul', [left, right]);
    return alpha === 1 ? product : this.op('Mul', [product, this.constant('float32', [], [alpha])]);
  }

  /** The finished graph. Outputs take their names by renaming, and a copy only where one value is asked for twice. */
  graph(): OnnxGraph {
    const kept = this.#withoutUnreadReshapes();
    const written = new Set(kept.flatMap((node) => node.outputs));
    const renamed = new Map<string, string>();
    const copies: OnnxNode[] = [];
    for (const { value, name } of this.#outputs) {
      if (written.has(value) && !renamed.has(value)) renamed.set(value, name);
      else copies.push({ op: 'Identity', inputs: [renamed.get(value) ?? value], outputs: [name] });
    }
    const rename = (value: string) => renamed.get(value) ?? value;
    const nodes = kept.map((node) => ({
      ...node,
      inputs: node.inputs.map(rename),
      outputs: node.outputs.map(rename),
    }));
    // The runtime infers no shape of what our operators compute, and plans its memory by shapes.
    const values = kept
      .filter(({ op }) => OWN_OPERATORS.has(op))
      .flatMap(({ outputs }) => outputs.filter((output) => !renamed.has(output) && this.#shapes.has(output)))
      .map((name) => ({ name, type: 'float32' as const, shape: this.#shapes.get(name)! }));
    return {
      nodes: lastLeavesFirst([...nodes, ...copies]),
      values,
      inputs: this.#inputs,
      outputs: this.#outputs.map(({ name, type, shape }) => ({ name, type, ...(shape ? { shape } : {}) })),
      initializers: Object.fromEntries(this.#initializers),
    };
  }

  #withoutUnreadReshapes(): OnnxNode[] {
    const read = new Set([...this.#nodes.flatMap(({ inputs }) => inputs), ...this.#outputs.map(({ value }) => value)]);
    return this.#nodes.filter(({ op, outputs }) => op !== 'Reshape' || outputs.some((output) => read.has(output)));
  }
}

/**
 * Scheduling for peak memory: ONNX Runtime orders a graph by a depth-first search that begins at its last node that
 * nothing reads. With these nodes at the end and turned round, it computes them in the order they were made, and each
 * value is needed for a short time only: a layer's weight gradient right after what reaches the layer, not after the
 * whole backward pass.
 */
function lastLeavesFirst(nodes: readonly OnnxNode[]): OnnxNode[] {
  const read = new Set(nodes.flatMap((node) => node.inputs));
  const isLeaf = (node: OnnxNode) => !node.outputs.some((output) => read.has(output));
  return [...nodes.filter((node) => !isLeaf(node)), ...nodes.filter(isLeaf).reverse()];
}

interface Flags {
  readonly transA?: boolean;
  readonly transB?: boolean;
  readonly alpha?: number;
}

interface ProductFlags extends Flags {
  readonly addend?: string;
}

export interface MatmulFlags extends Flags {
  /** Numbers of axes of the two operands. Default: both are matrices. */
  readonly ranks?: readonly [number, number];
}

function encode(value: OnnxAttributes[string]): OnnxAttribute {
  if (typeof value === 'number') return { int: value };
  if (typeof value === 'string') return { string: value };
  return 'float' in value || 'floats' in value ? value : { ints: value };
}

function dtypeOf(type: OnnxType) {
  switch (type) {
    case 'float32':
    case 'float16':
    case 'int32':
    case 'int8':
    case 'uint8':
    case 'bool':
      return type;
    default:
      throw new RangeError(`no host encoding of ${type} constants`);
  }
}
