import { type GraphNode, makeNode, nameScope, topologicalOrder, type Value } from './node.js';

/** The part of a graph between some values it starts from and the values it computes. */
export interface Region {
  readonly outputs: readonly Value[];
  /** What the region reads and did not make, without repetition. */
  readonly boundary: readonly Value[];
  /** The region's own nodes, each after its inputs. */
  readonly nodes: readonly GraphNode[];
}

/** What was made for `outputs` by the nodes whose id is at least `firstId`. */
export function regionSince(firstId: number, outputs: readonly Value[]): Region {
  const isOutside = ({ id }: GraphNode) => id < firstId;
  const nodes = topologicalOrder(outputs, isOutside);
  const boundary = new Map<string, Value>();
  for (const value of [...nodes.flatMap(({ inputs }) => inputs), ...outputs]) {
    if (isOutside(value.node)) boundary.set(keyOf(value), value);
  }
  return { outputs, boundary: [...boundary.values()], nodes };
}

/** The outputs of a region built once more, over other values in place of its boundary (in the boundary's order). */
export function rebuild({ outputs, boundary, nodes }: Region, replacements: readonly Value[]): Value[] {
  const replaced = new Map(boundary.map((value, i) => [keyOf(value), replacements[i]!]));
  const copies = new Map<GraphNode, GraphNode>();
  const moved = (value: Value): Value => {
    const copy = copies.get(value.node);
    return copy ? { node: copy, index: value.index } : (replaced.get(keyOf(value)) ?? value);
  };
  for (const node of nodes) {
    const inputs = node.inputs.map(moved);
    if (inputs.some((input, i) => input !== node.inputs[i])) {
      copies.set(
        node,
        nameScope(node.scope, () => makeNode(node.op, inputs, node.attributes)),
      );
    }
  }
  return outputs.map(moved);
}

const keyOf = ({ node, index }: Value): string => `${node.id}.${index}`;
