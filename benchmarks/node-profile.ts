/** An entry of a profile that ONNX Runtime writes (Chrome's trace format); times in microseconds. */
export interface ProfileEvent {
  readonly cat: string;
  readonly name: string;
  readonly dur: number;
  readonly args?: {
    readonly op_name?: string;
    readonly input_type_shape?: TypedShapes;
    readonly output_type_shape?: TypedShapes;
  };
}

/** Each shape by the name of its element type. */
type TypedShapes = readonly Readonly<Record<string, readonly number[]>>[];

/** Nodes of one op and shape: of the result, and for products of the factors before it. */
export interface NodeKind {
  readonly name: string;
  readonly op: string;
  readonly nodes: number;
  /** Sum over the nodes of the smallest of their times. */
  readonly milliseconds: number;
  /** 10⁹ floating-point operations of the products, one run; 0 for other nodes. */
  readonly gigaflops: number;
}

const PRODUCT = /MatMul|Gemm|^Product$/;

const shapes = (list: TypedShapes | undefined) => (list ?? []).map((entry) => Object.values(entry)[0] ?? []);
const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** 2·b·m·k·n of [b, m, k] × [b, k, n], either factor transposed or not, or [b·m, k] × [k, n], from the sizes. */
export function productFlops(a: readonly number[], b: readonly number[], out: readonly number[]): number {
  const batch = b.length > 2 ? sizeOf(b.slice(0, -2)) : 1;
  const inner = Math.sqrt((sizeOf(a) * sizeOf(b)) / (sizeOf(out) * batch));
  return 2 * sizeOf(out) * inner;
}

/** Kinds of nodes with the time they take in an undisturbed run, most time first; and how many runs there were. */
export function nodeKinds(events: readonly ProfileEvent[]): { readonly kinds: NodeKind[]; readonly runs: number } {
  const nodes = new Map<string, { kind: string; op: string; gigaflops: number; times: number[] }>();
  for (const { cat, name, dur, args } of events) {
    if (cat !== 'Node' || !name.endsWith('_kernel_time')) continue;
    const known = nodes.get(name);
    if (known) {
      known.times.push(dur / 1000);
      continue;
    }
    const op = args?.op_name ?? '?';
    const [inputs, [out]] = [shapes(args?.input_type_shape), shapes(args?.output_type_shape)];
    const isProduct = PRODUCT.test(op) && inputs.length >= 2 && out !== undefined;
    nodes.set(name, {
      op,
      kind: `${op} ${[...(isProduct ? inputs : []), out ?? []].map((shape) => shape.join('×')).join(' , ')}`,
      gigaflops: isProduct ? productFlops(inputs[0]!, inputs[1]!, out) / 1e9 : 0,
      times: [dur / 1000],
    });
  }
  const kinds = new Map<string, NodeKind>();
  for (const { kind, op, gigaflops, times } of nodes.values()) {
    const sum = kinds.get(kind) ?? { nodes: 0, milliseconds: 0, gigaflops: 0 };
    kinds.set(kind, {
      name: kind,
      op,
      nodes: sum.nodes + 1,
      milliseconds: sum.milliseconds + Math.min(...times),
      gigaflops: sum.gigaflops + gigaflops,
    });
  }
  return {
    kinds: [...kinds.values()].sort((a, b) => b.milliseconds - a.milliseconds),
    runs: Math.max(0, ...[...nodes.values()].map(({ times }) => times.length)),
  };
}
