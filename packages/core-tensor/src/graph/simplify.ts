import { sameShape } from '../shape.js';
import {
  type Graph,
  type GraphKernel,
  type GraphNode,
  isOp,
  makeNode,
  specOf,
  topologicalOrder,
  type Value,
} from './node.js';

export interface SimplifyOptions {
  /**
   * The fused kernels to keep as nodes, by name or by a predicate; all others are replaced by their decompositions.
   * One without a decomposition stays in any case.
   */
  readonly kernels: ReadonlySet<string> | ((kernel: GraphKernel) => boolean);
}

/**
 * The graph an engine lowers, after decomposition (kernels it does not override), common subexpression elimination, dead
 * code elimination, and removal of no-op movements and of marks for differentiation.
 */
export function simplify(graph: Graph, { kernels }: SimplifyOptions): Graph {
  const rewriter = new Rewriter(typeof kernels === 'function' ? kernels : ({ name }) => kernels.has(name));
  for (const input of graph.inputs) rewriter.keep(input);
  rewriter.rewriteAll(graph.nodes, graph.outputs);
  const outputs = graph.outputs.map((value) => rewriter.valueOf(value));
  return { inputs: graph.inputs, outputs, nodes: withInputs(graph.inputs, topologicalOrder(outputs)) };
}

/** Unused inputs stay part of the graph, so that its signature stays the caller's. */
function withInputs(inputs: readonly GraphNode[], nodes: readonly GraphNode[]): GraphNode[] {
  const present = new Set(nodes);
  return [...inputs.filter((input) => !present.has(input)), ...nodes];
}

class Rewriter {
  readonly #values = new Map<GraphNode, readonly Value[]>();
  readonly #canonical = new Map<string, GraphNode>();
  readonly #done = new Set<GraphNode>();
  readonly #objectIds = new Map<object, number>();
  readonly #keeps: (kernel: GraphKernel) => boolean;

  constructor(keeps: (kernel: GraphKernel) => boolean) {
    this.#keeps = keeps;
  }

  keep(node: GraphNode): void {
    this.#done.add(node);
    this.#values.set(
      node,
      node.outputs.map((_, index) => ({ node, index })),
    );
  }

  valueOf(value: Value): Value {
    return this.#done.has(value.node) ? value : this.#values.get(value.node)![value.index]!;
  }

  /** Rewrites `nodes`, which come in order and are all that `outputs` need. */
  rewriteAll(nodes: readonly GraphNode[], outputs: readonly Value[]): void {
    const used = new Map<GraphNode, Set<number>>();
    for (const { node, index } of [...nodes.flatMap(({ inputs }) => inputs), ...outputs]) {
      const indices = used.get(node) ?? new Set();
      used.set(node, indices.add(index));
    }
    for (const node of nodes) {
      if (!this.#values.has(node)) this.#values.set(node, this.#replacement(node, used.get(node) ?? new Set()));
    }
  }

  #replacement(node: GraphNode, used: ReadonlySet<number>): readonly Value[] {
    const inputs = node.inputs.map((input) => this.valueOf(input));
    if (isOp(node, 'kernel') && node.attributes.kernel.decompose && !this.#keeps(node.attributes.kernel)) {
      const { kernel, config } = node.attributes;
      const isUsed = node.outputs.map((_, index) => used.has(index));
      const values = kernel.decompose!(inputs, config, isUsed);
      const wanted = values.filter((_, index) => used.has(index));
      this.rewriteAll(
        topologicalOrder(wanted, (other) => this.#done.has(other)),
        wanted,
      );
      return values.map((value, index) => (used.has(index) ? this.valueOf(value) : value));
    }
    if (isOp(node, 'customVjp')) return inputs.slice(0, node.attributes.outputs);
    if (isOp(node, 'stopGradient') || isNoOp(node)) return [inputs[0]!];
    const merged = mergeMovement(node, inputs);
    if (merged && isNoOp(merged)) return [merged.inputs[0]!];
    return this.#intern(merged ?? node, merged ? merged.inputs : inputs);
  }

  /** Common subexpression elimination: the one node for this computation. */
  #intern(node: GraphNode, inputs: readonly Value[]): readonly Value[] {
    const same = node.inputs.every((input, i) => input.node === inputs[i]!.node && input.index === inputs[i]!.index);
    const candidate = same ? node : makeNode(node.op, inputs, node.attributes);
    const key = this.#keyOf(candidate);
    const known = this.#canonical.get(key);
    if (!known) {
      this.#canonical.set(key, candidate);
      this.#done.add(candidate);
    }
    const winner = known ?? candidate;
    return winner.outputs.map((_, index) => ({ node: winner, index }));
  }

  #keyOf(node: GraphNode): string {
    const inputs = node.inputs.map(({ node: n, index }) => `${n.id}.${index}`).join(',');
    if (isOp(node, 'data')) return `data ${this.#idOf(node.attributes.storage)}`;
    if (isOp(node, 'input')) return `input ${node.id}`;
    if (isOp(node, 'kernel')) {
      const { kernel, config } = node.attributes;
      return `kernel ${this.#idOf(kernel)} ${JSON.stringify(config, numberKey)} ${inputs}`;
    }
    return `${node.op} ${JSON.stringify(node.attributes, numberKey)} ${inputs}`;
  }

  #idOf(object: object): number {
    const id = this.#objectIds.get(object) ?? this.#objectIds.size;
    this.#objectIds.set(object, id);
    return id;
  }
}

/** JSON has no infinities, NaN or -0, and attributes have them. */
const numberKey = (_: string, value: unknown): unknown =>
  typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0))
    ? `#${Object.is(value, -0) ? '-0' : value}`
    : value;

function isNoOp(node: GraphNode): boolean {
  const keepsShape = () => sameShape(specOf(node.inputs[0]!).shape, node.outputs[0]!.shape);
  if (isOp(node, 'reshape') || isOp(node, 'broadcastTo') || isOp(node, 'slice') || isOp(node, 'pad'))
    return keepsShape();
  if (isOp(node, 'transpose')) return node.attributes.permutation.every((axis, i) => axis === i);
  if (isOp(node, 'cast')) return specOf(node.inputs[0]!).dtype === node.attributes.dtype;
  if (isOp(node, 'sum') || isOp(node, 'max')) return node.attributes.axes.length === 0;
  if (isOp(node, 'mul') || isOp(node, 'div')) return keepsShape() && isOne(node.inputs[1]!.node);
  return false;
}

const isOne = (node: GraphNode): boolean => isOp(node, 'full') && node.attributes.value === 1;

/** Whether a transpose leaves the elements in their order: only axes of one element move. */
function keepsOrder(node: GraphNode<'transpose'>): boolean {
  const { shape } = specOf(node.inputs[0]!);
  const moved = node.attributes.permutation.filter((axis) => shape[axis] !== 1);
  return moved.every((axis, i) => i === 0 || axis > moved[i - 1]!);
}

/** reshape of reshape and transpose of transpose are one step; a transpose that moves nothing is a reshape. */
function mergeMovement(node: GraphNode, inputs: readonly Value[]): GraphNode | undefined {
  const source = inputs[0]?.node;
  if (!source) return undefined;
  if (isOp(node, 'reshape') && isOp(source, 'reshape')) {
    return makeNode('reshape', source.inputs, node.attributes);
  }
  if (isOp(node, 'transpose') && keepsOrder(node)) {
    return makeNode('reshape', isOp(source, 'reshape') ? source.inputs : inputs, { shape: node.outputs[0]!.shape });
  }
  if (isOp(node, 'transpose') && isOp(source, 'transpose')) {
    const inner = source.attributes.permutation;
    return makeNode('transpose', source.inputs, {
      permutation: node.attributes.permutation.map((axis) => inner[axis]!),
    });
  }
  return undefined;
}
