import { type Graph, type GraphNode, isOp, specOf, type Value } from '../../graph/node.js';
import { sameShape } from '../../shape.js';

const isKernel = (node: GraphNode, name: string): node is GraphNode<'kernel'> =>
  isOp(node, 'kernel') && node.attributes.kernel.name === name;

/** How often each node is read, by other nodes or as an output. */
export function countUses({ nodes, outputs }: Graph): ReadonlyMap<GraphNode, number> {
  const uses = new Map<GraphNode, number>();
  for (const { node } of [...nodes.flatMap(({ inputs }) => inputs), ...outputs])
    uses.set(node, (uses.get(node) ?? 0) + 1);
  return uses;
}

/** Rotations of queries that only their attention reads, which lets them be scaled on the way. */
export function rotatedQueries(graph: Graph): GraphNode[] {
  const uses = countUses(graph);
  return graph.nodes.flatMap((node) => {
    const query = isKernel(node, 'cachedAttention') ? node.inputs[0]!.node : undefined;
    return query && isKernel(query, 'rotary') && uses.get(query) === 1 ? [query] : [];
  });
}

/**
 * The normalisation that follows a sum of two tensors of one shape, by the sum: one kernel computes both. Only in steps of
 * generation, where nodes cost as much as what they do: it rounds otherwise than two kernels, and a pass that is computed
 * again for its gradient must not.
 */
export function residualNorms(
  graph: Graph,
  fused: ReadonlySet<GraphNode>,
): ReadonlyMap<GraphNode, GraphNode<'kernel'>> {
  const read = new Set(graph.nodes.flatMap(({ inputs }) => inputs.map(({ node, index }) => `${node.id}.${index}`)));
  for (const { node, index } of graph.outputs) read.add(`${node.id}.${index}`);
  const norms = new Map<GraphNode, GraphNode<'kernel'>>();
  if (!graph.nodes.some((node) => isKernel(node, 'cachedAttention'))) return norms;
  for (const node of graph.nodes) {
    const sum = isKernel(node, 'rmsNorm') ? node.inputs[0]!.node : undefined;
    if (!sum || !isOp(sum, 'add') || norms.has(sum) || read.has(`${node.id}.1`)) continue;
    const { shape, dtype } = sum.outputs[0]!;
    const isPlain = ({ node: operand, index }: Value) =>
      !fused.has(operand) && operand.op !== 'full' && sameShape(operand.outputs[index]!.shape, shape);
    const ranks = shape.length === 2 || shape.length === 3;
    if (dtype === 'float32' && ranks && specOf(node.inputs[1]!).dtype === dtype && sum.inputs.every(isPlain))
      norms.set(sum, node as GraphNode<'kernel'>);
  }
  return norms;
}
