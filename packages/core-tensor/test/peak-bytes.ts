import { makeNode, specOf } from '../src/graph/node.js';
import { simplify } from '../src/graph/simplify.js';
import { type GraphNode, Tensor } from '../src/index.js';
import { captureLeaves } from '../src/realize.js';
import { sizeOf } from '../src/shape.js';

const VIEWS: ReadonlySet<string> = new Set(['reshape', 'barrier']);

/**
 * Bytes of intermediate results that are alive at once when f's graph, from primitives only, runs in order and each
 * result lives until its last reader has run. Reshapes and constants take none. `visit` sees every node.
 */
export function peakBytes(f: (x: Tensor) => Tensor, like: Tensor, visit: (node: GraphNode) => void = () => {}): number {
  const input = makeNode('input', [], { spec: like.spec });
  const { graph } = captureLeaves([f(new Tensor({ node: input, index: 0 })).value], [input]);
  const { nodes, outputs } = simplify(graph, { kernels: new Set() });
  const storedIn = (node: GraphNode): GraphNode => (VIEWS.has(node.op) ? storedIn(node.inputs[0]!.node) : node);
  const lastUse = new Map<GraphNode, number>();
  for (const [i, node] of nodes.entries()) for (const used of node.inputs) lastUse.set(storedIn(used.node), i);
  for (const { node } of outputs) lastUse.set(storedIn(node), nodes.length);
  const free = new Set([...VIEWS, 'input', 'data', 'full', 'iota', 'broadcastTo']);
  const bytes = (node: GraphNode) =>
    free.has(node.op) ? 0 : node.outputs.reduce((sum, _, index) => sum + 4 * sizeOf(specOf({ node, index }).shape), 0);
  const endings = new Map<number, GraphNode[]>();
  for (const [node, at] of lastUse) endings.set(at, [...(endings.get(at) ?? []), node]);
  let [alive, peak] = [0, 0];
  for (const [i, node] of nodes.entries()) {
    visit(node);
    if (lastUse.has(node)) alive += bytes(node);
    peak = Math.max(peak, alive);
    for (const ended of endings.get(i) ?? []) alive -= bytes(ended);
  }
  return peak;
}

/**
 * Bytes of the intermediate results of a loss, from primitives only, that its gradients read: what is kept from the pass for them. Inputs,
 * constants and weights take none.
 */
export function keptBytes(loss: Tensor, gradients: readonly Tensor[]): number {
  const captured = captureLeaves([loss.value, ...gradients.map(({ value }) => value)], []);
  const { nodes, outputs } = simplify(captured.graph, { kernels: new Set() });
  const pass = new Set<GraphNode>();
  const visit = (node: GraphNode): void => {
    if (pass.has(node)) return;
    pass.add(node);
    for (const used of node.inputs) visit(used.node);
  };
  visit(outputs[0]!.node);
  const storedIn = (node: GraphNode): GraphNode => (VIEWS.has(node.op) ? storedIn(node.inputs[0]!.node) : node);
  const kept = new Set<GraphNode>();
  for (const node of nodes) {
    if (pass.has(node)) continue;
    for (const used of node.inputs) if (pass.has(used.node)) kept.add(storedIn(used.node));
  }
  const free = new Set([...VIEWS, 'input', 'data', 'full', 'iota', 'broadcastTo']);
  const sizes = [...kept].map((node) =>
    free.has(node.op) ? 0 : node.outputs.reduce((sum, _, index) => sum + 4 * sizeOf(specOf({ node, index }).shape), 0),
  );
  return sizes.reduce((a, b) => a + b, 0);
}
