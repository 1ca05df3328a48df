/**
 * Writes ONNX models: the part of `onnx.proto` (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) that the
 * onnxruntime engine emits, encoded by hand as protobuf. Field numbers are those of that file.
 */

/** ONNX element types (`TensorProto.DataType`) by name. */
export const onnxTypes = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  bfloat16: 16,
} as const;

export type OnnxType = keyof typeof onnxTypes;

/** A constant; `data` are the little-endian bytes of its elements in row-major order (bool: one byte each). */
export interface OnnxTensor {
  readonly type: OnnxType;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView;
}

/** An initializer whose elements are in another file, beside the model: `length` bytes from `offset` on. */
export interface ExternalOnnxTensor extends Omit<OnnxTensor, 'data'> {
  readonly external: { readonly location: string; readonly offset: number; readonly length: number };
}

/** The value of a node attribute; the key says which kind it is. */
export type OnnxAttribute =
  | { readonly int: number | bigint }
  | { readonly float: number }
  | { readonly string: string }
  | { readonly tensor: OnnxTensor }
  | { readonly graph: OnnxGraph }
  | { readonly ints: readonly (number | bigint)[] }
  | { readonly floats: readonly number[] }
  | { readonly strings: readonly string[] };

export interface OnnxNode {
  readonly op: string;
  /** Operator set the op belongs to: `''` (ONNX itself, the default), `'com.microsoft'` or `KERNEL_DOMAIN`. */
  readonly domain?: string;
  readonly name?: string;
  /** Names of the values read; `''` leaves an optional input out. */
  readonly inputs: readonly string[];
  /** Names of the values written; `''` leaves an optional output out. */
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
}

/** An input or output of a graph. A string dimension is symbolic; without `shape` not even the rank is stated. */
export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape?: readonly (number | string)[];
}

export interface OnnxGraph {
  readonly name?: string;
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  /** Values in between whose shapes the runtime cannot infer: results of operators that are not ONNX's. */
  readonly values?: readonly OnnxValue[];
  readonly initializers?: Readonly<Record<string, OnnxTensor | ExternalOnnxTensor>>;
}

/** The domain of the kernels of our own (packages/core-tensor/native). */
export const KERNEL_DOMAIN = 'posttrain';

/** onnxruntime 1.30 loads opsets up to 26; 21 (with IR version 10) has every op the engine emits and loads in older ones. */
const irVersion = 10;
const opsets = [
  { domain: '', version: 21 },
  { domain: 'com.microsoft', version: 1 },
  { domain: KERNEL_DOMAIN, version: 1 },
];

/** The bytes of a `ModelProto` holding `graph`; `metadata` becomes its `metadata_props`. */
export function encodeModel(graph: OnnxGraph, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  const model = new ProtoWriter();
  model.int(1, irVersion);
  model.string(2, 'posttrain');
  model.message(7, encodeGraph(graph));
  const used = domainsOf(graph);
  for (const { domain, version } of opsets.filter((opset) => used.has(opset.domain)))
    model.message(8, new ProtoWriter().string(1, domain).int(2, version));
  for (const [key, value] of Object.entries(metadata)) model.message(14, encodeEntry(key, value));
  return model.bytes();
}

/** Operator sets that a graph and the graphs in it need; ONNX's own always. */
function domainsOf(graph: OnnxGraph): Set<string> {
  const inner = graph.nodes.flatMap(({ attributes = {} }) =>
    Object.values(attributes).flatMap((value) => ('graph' in value ? [...domainsOf(value.graph)] : [])),
  );
  return new Set(['', ...inner, ...graph.nodes.map(({ domain = '' }) => domain)]);
}

function encodeGraph(graph: OnnxGraph): ProtoWriter {
  const out = new ProtoWriter();
  for (const node of graph.nodes) out.message(1, encodeNode(node));
  out.string(2, graph.name ?? 'graph');
  for (const [name, tensor] of Object.entries(graph.initializers ?? {})) out.message(5, encodeTensor(tensor, name));
  for (const value of graph.inputs) out.message(11, encodeValue(value));
  for (const value of graph.outputs) out.message(12, encodeValue(value));
  for (const value of graph.values ?? []) out.message(13, encodeValue(value));
  return out;
}

function encodeNode(node: OnnxNode): ProtoWriter {
  const out = new ProtoWriter();
  for (const name of node.inputs) out.string(1, name);
  for (const name of node.outputs) out.string(2, name);
  out.string(3, node.name ?? '');
  out.string(4, node.op);
  for (const [name, value] of Object.entries(node.attributes ?? {})) out.message(5, encodeAttribute(name, value));
  if (node.domain) out.string(7, node.domain);
  return out;
}

function encodeAttribute(name: string, value: OnnxAttribute): ProtoWriter {
  const out = new ProtoWriter().string(1, name);
  if ('float' in value) out.float(2, value.float).int(20, 1);
  else if ('int' in value) out.int(3, value.int).int(20, 2);
  else if ('string' in value) out.string(4, value.string).int(20, 3);
  else if ('tensor' in value) out.message(5, encodeTensor(value.tensor)).int(20, 4);
  else if ('graph' in value) out.message(6, encodeGraph(value.graph)).int(20, 5);
  else if ('floats' in value) out.each(value.floats, (f) => out.float(7, f)).int(20, 6);
  else if ('ints' in value) out.each(value.ints, (i) => out.int(8, i)).int(20, 7);
  else out.each(value.strings, (s) => out.string(9, s)).int(20, 8);
  return out;
}

const encodeEntry = (key: string, value: string): ProtoWriter => new ProtoWriter().string(1, key).string(2, value);

function encodeTensor(tensor: OnnxTensor | ExternalOnnxTensor, name?: string): ProtoWriter {
  const out = new ProtoWriter();
  for (const size of tensor.shape) out.int(1, size);
  out.int(2, onnxTypes[tensor.type]);
  if (name !== undefined) out.string(8, name);
  if ('external' in tensor) {
    for (const [key, value] of Object.entries(tensor.external)) out.message(13, encodeEntry(key, String(value)));
    return out.int(14, 1);
  }
  const { buffer, byteOffset, byteLength } = tensor.data;
  return out.raw(9, new Uint8Array(buffer, byteOffset, byteLength));
}

function encodeValue(value: OnnxValue): ProtoWriter {
  const type = new ProtoWriter().int(1, onnxTypes[value.type]);
  if (value.shape) {
    const shape = new ProtoWriter();
    for (const size of value.shape) {
      shape.message(1, typeof size === 'string' ? new ProtoWriter().string(2, size) : new ProtoWriter().int(1, size));
    }
    type.message(2, shape);
  }
  return new ProtoWriter().string(1, value.name).message(2, new ProtoWriter().message(1, type));
}

const utf8 = new TextEncoder();
// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
const ASCII = /^[\x00-\x7f]*$/;

/** Protobuf wire format: every field is a varint tag `(number << 3) | wireType` and its payload. */
class ProtoWriter {
  readonly #chunks: Uint8Array[] = [];
  #pending: number[] = [];
  #length = 0;

  int(field: number, value: number | bigint): this {
    this.#varint(field * 8);
    this.#varint(value);
    return this;
  }

  float(field: number, value: number): this {
    this.#varint(field * 8 + 5);
    this.#pending.push(...new Uint8Array(Float32Array.of(value).buffer));
    this.#length += 4;
    return this;
  }

  string(field: number, value: string): this {
    // Most are short names, of which a graph has tens of thousands: their characters are their bytes.
    if (value.length >= 64 || !ASCII.test(value)) return this.raw(field, utf8.encode(value));
    this.#varint(field * 8 + 2);
    this.#varint(value.length);
    for (let i = 0; i < value.length; i++) this.#pending.push(value.charCodeAt(i));
    this.#length += value.length;
    return this;
  }

  /** A length-delimited field. Large payloads are referenced, not copied, until `bytes`. */
  raw(field: number, payload: Uint8Array): this {
    this.#varint(field * 8 + 2);
    this.#varint(payload.length);
    this.#append(payload);
    return this;
  }

  message(field: number, message: ProtoWriter): this {
    this.#varint(field * 8 + 2);
    this.#varint(message.#length);
    message.#flush();
    for (const chunk of message.#chunks) this.#append(chunk);
    return this;
  }

  each<Item>(items: readonly Item[], write: (item: Item) => unknown): this {
    for (const item of items) write(item);
    return this;
  }

  bytes(): Uint8Array {
    this.#flush();
    const out = new Uint8Array(this.#length);
    let at = 0;
    for (const chunk of this.#chunks) {
      out.set(chunk, at);
      at += chunk.length;
    }
    return out;
  }

  #append(payload: Uint8Array): void {
    if (payload.length < 64) {
      for (const byte of payload) this.#pending.push(byte);
    } else {
      this.#flush();
      this.#chunks.push(payload);
    }
    this.#length += payload.length;
  }

  #flush(): void {
    if (this.#pending.length > 0) this.#chunks.push(Uint8Array.from(this.#pending));
    this.#pending = [];
  }

  /** Negative integers are the ten-byte two's complement that int64 fields use. */
  #varint(value: number | bigint): void {
    if (typeof value === 'number' && value >= 0 && value < 2 ** 31) {
      let rest = value;
      for (; rest > 127; rest >>>= 7) {
        this.#pending.push((rest & 127) | 128);
        this.#length++;
      }
      this.#pending.push(rest);
      this.#length++;
      return;
    }
    let rest = BigInt.asUintN(64, BigInt(value));
    do {
      const byte = Number(rest & 127n);
      rest >>= 7n;
      this.#pending.push(rest > 0n ? byte | 128 : byte);
      this.#length++;
    } while (rest > 0n);
  }
}
