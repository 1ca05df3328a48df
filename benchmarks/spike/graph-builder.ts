import type {
  OnnxAttribute,
  OnnxGraph,
  OnnxNode,
  OnnxTensor,
  OnnxValue,
} from '../../packages/core-tensor/src/engines/onnxruntime/proto.js';

type AttributeLiteral = number | readonly number[] | string | { readonly float: number };

const microsoftOps = new Set(['FusedMatMul', 'RotaryEmbedding', 'GroupQueryAttention', 'QuickGelu']);

/** Collects the nodes of an ONNX graph; every method returns the name of the value it made. */
export class GraphBuilder {
  readonly nodes: OnnxNode[] = [];
  readonly inputs: OnnxValue[] = [];
  readonly outputs: OnnxValue[] = [];
  readonly initializers: Record<string, OnnxTensor> = {};
  #count = 0;

  input(name: string, type: OnnxValue['type'], shape: readonly number[]): string {
    this.inputs.push({ name, type, shape });
    return name;
  }

  /** Makes the value a graph output called `name`. It must not have been read by another node. */
  output(value: string, name: string, type: OnnxValue['type'], shape: readonly number[]): void {
    const at = this.nodes.findLastIndex((node) => node.outputs.includes(value));
    const node = this.nodes[at]!;
    this.nodes[at] = { ...node, outputs: node.outputs.map((output) => (output === value ? name : output)) };
    this.outputs.push({ name, type, shape });
  }

  floats(values: readonly number[] | Float32Array, shape: readonly number[]): string {
    return this.#constant({ type: 'float32', shape, data: Float32Array.from(values) }, `f${shape}:${values.join()}`);
  }

  ints(values: readonly number[]): string {
    const data = BigInt64Array.from(values, BigInt);
    return this.#constant({ type: 'int64', shape: [values.length], data }, `i${values.join()}`);
  }

  op(op: string, inputs: readonly string[], attributes: Record<string, AttributeLiteral> = {}): string {
    return this.ops(op, inputs, 1, attributes)[0]!;
  }

  ops(op: string, inputs: readonly string[], count: number, attributes: Record<string, AttributeLiteral> = {}) {
    const id = `${op}_${this.#count++}`;
    const outputs = Array.from({ length: count }, (_, i) => (i === 0 ? id : `${id}_${i}`));
    const encoded: Record<string, OnnxAttribute> = {};
    for (const [key, value] of Object.entries(attributes)) {
      if (typeof value === 'number') encoded[key] = { int: value };
      else if (typeof value === 'string') encoded[key] = { string: value };
      else if ('float' in value) encoded[key] = value;
      else encoded[key] = { ints: value };
    }
    this.nodes.push({
      op,
      domain: microsoftOps.has(op) ? 'com.microsoft' : '',
      name: id,
      inputs,
      outputs,
      attributes: encoded,
    });
    return outputs;
  }

  reshape(value: string, shape: readonly number[]): string {
    return this.op('Reshape', [value, this.ints(shape)]);
  }

  transpose(value: string, perm: readonly number[]): string {
    return this.op('Transpose', [value], { perm });
  }

  /** alpha * op(a) @ op(b). */
  matmul(a: string, b: string, options: { transA?: 1; transB?: 1; alpha?: number } = {}): string {
    const { alpha = 1, transA = 0, transB = 0 } = options;
    return this.op('FusedMatMul', [a, b], { alpha: { float: alpha }, transA, transB });
  }

  /** alpha * op(a) @ op(b) + c, of matrices. */
  gemm(a: string, b: string, c: string, options: { transA?: 1; transB?: 1; alpha?: number } = {}): string {
    const { alpha = 1, transA = 0, transB = 0 } = options;
    return this.op('Gemm', [a, b, c], { alpha: { float: alpha }, transA, transB });
  }

  graph(): OnnxGraph {
    return { nodes: this.nodes, inputs: this.inputs, outputs: this.outputs, initializers: this.initializers };
  }

  readonly #constants = new Map<string, string>();
  #constant(tensor: OnnxTensor, key: string): string {
    let name = this.#constants.get(key);
    if (name === undefined) {
      name = `constant_${this.#constants.size}`;
      this.#constants.set(key, name);
      this.initializers[name] = tensor;
    }
    return name;
  }
}
