import { type Graph, type GraphNode, isOp, specOf, type Value } from '../../graph/node.js';
import { sameShape } from '../../shape.js';
import { countUses, isRead } from './uses.js';

const isKernel = (node: GraphNode, name: string): node is GraphNode<'kernel'> =>
  isOp(node, 'kernel') && node.attributes.kernel.name === name;

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
  const norms = new Map<GraphNode, GraphNode<'kernel'>>();
  if (!graph.nodes.some((node) => isKernel(node, 'cachedAttention'))) return norms;
  for (const node of graph.nodes) {
    const sum = isKernel(node, 'rmsNorm') ? node.inputs[0]!.node : undefined;
    if (!sum || !isOp(sum, 'add') || norms.has(sum) || isRead(graph, node, 1)) continue;
    const { shape, dtype } = sum.outputs[0]!;
    const isPlain = ({ node: operand, index }: Value) =>
      !fused.has(operand) && operand.op !== 'full' && sameShape(operand.outputs[index]!.shape, shape);
    const ranks = shape.length === 2 || shape.length === 3;
    if (dtype === 'float32' && ranks && specOf(node.inputs[1]!).dtype === dtype && sum.inputs.every(isPlain))
      norms.set(sum, node as GraphNode<'kernel'>);
  }
  return norms;
}
