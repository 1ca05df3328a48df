import { type Graph, type GraphNode, isOp } from '../../graph/node.js';
import { accumulation } from './accumulation.js';
import { scatteredInto } from './lower-indexing.js';
import { hasEmptyOperand, scaledProduct, summedProduct } from './lower-products.js';
import { countUses } from './uses.js';

/**
 * GEMM fusion: products that are emitted by their only user. `mul(product, scalar)` becomes the alpha of one FusedMatMul,
 * the sum of Aᵀ B over its batch becomes one product of the stacked matrices, and what is added to a product its starting
 * value. So does what is added to scattered rows. Products that `isApart` says have a kernel of their own start a sum, and do
 * not join one.
 */
export function matmulFusions(graph: Graph, isApart: (node: GraphNode) => boolean): Set<GraphNode> {
  const uses = countUses(graph);
  const fused = new Set<GraphNode>();
  for (const node of graph.nodes) {
    if (isOp(node, 'add')) {
      const scattered = scatteredInto(node, (inner) => uses.get(inner) === 1);
      if (scattered) {
        fused.add(scattered.scattered);
        continue;
      }
      const accumulated = accumulation(node, (inner) => uses.get(inner) === 1 && !isApart(inner));
      for (const inner of accumulated?.swallowed ?? []) fused.add(inner);
      continue;
    }
    const product = isOp(node, 'mul')
      ? scaledProduct(node)?.product
      : isOp(node, 'sum')
        ? summedProduct(node)
        : undefined;
    if (product && uses.get(product) === 1 && !hasEmptyOperand(product)) fused.add(product);
  }
  return fused;
}
