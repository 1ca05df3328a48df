import type { Graph, GraphNode } from '../../graph/node.js';

/** Use counts: how often each node is read, by other nodes or as an output. */
export function countUses({ nodes, outputs }: Graph): ReadonlyMap<GraphNode, number> {
  const uses = new Map<GraphNode, number>();
  for (const { node } of [...nodes.flatMap(({ inputs }) => inputs), ...outputs])
    uses.set(node, (uses.get(node) ?? 0) + 1);
  return uses;
}

/** Whether anything reads an output of a node. */
export const isRead = ({ nodes, outputs }: Graph, node: GraphNode, index: number): boolean =>
  [outputs, ...nodes.map(({ inputs }) => inputs)].some((values) =>
    values.some((value) => value.node === node && value.index === index),
  );
