import type { Graph, GraphNode, Value } from '../../graph/node.js';

/** Use counts: how often each node is read, by other nodes or as an output. */
export function countUses({ nodes, outputs }: Graph): ReadonlyMap<GraphNode, number> {
  const uses = new Map<GraphNode, number>();
  for (const { node } of [...nodes.flatMap(({ inputs }) => inputs), ...outputs])
    uses.set(node, (uses.get(node) ?? 0) + 1);
  return uses;
}

/** The outputs of each node that are read, of graphs that were asked about: a graph does not change. */
const reads = new WeakMap<Graph, ReadonlyMap<GraphNode, ReadonlySet<number>>>();

function readsOf(graph: Graph): ReadonlyMap<GraphNode, ReadonlySet<number>> {
  const known = reads.get(graph);
  if (known) return known;
  const made = new Map<GraphNode, Set<number>>();
  const add = ({ node, index }: Value) => {
    const indices = made.get(node);
    if (indices) indices.add(index);
    else made.set(node, new Set([index]));
  };
  for (const { inputs } of graph.nodes) for (const value of inputs) add(value);
  for (const value of graph.outputs) add(value);
  reads.set(graph, made);
  return made;
}

/** Whether anything reads an output of a node. */
export const isRead = (graph: Graph, node: GraphNode, index: number): boolean =>
  readsOf(graph).get(node)?.has(index) ?? false;
