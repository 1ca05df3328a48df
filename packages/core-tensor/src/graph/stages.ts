import { type Graph, type GraphNode, isOp, makeNode, specOf, type Value } from './node.js';

/**
 * A part of a graph that an engine runs in one call, and the host nodes to compute after it, before the next part.
 * What crosses from one stage to another is named by `crossingKey` of its value in the whole graph.
 */
export interface Stage {
  readonly graph: Graph;
  /** For each input of `graph`: the key of the value to feed. */
  readonly inputs: readonly string[];
  /** For each output of `graph`: the key of the value, and the output of the whole graph that it is, if any. */
  readonly outputs: readonly { readonly key: string; readonly graphOutput?: number }[];
  readonly hostNodes: readonly GraphNode<'kernel'>[];
}

export const crossingKey = ({ node, index }: Value): string => `${node.id}.${index}`;

/**
 * Graph partitioning: splits a simplified graph where nodes fall back to the host. Every node is in the first stage in
 * which all its inputs are there. Leaves without inputs are repeated wherever they are used, so they never cross.
 */
export function splitIntoStages(graph: Graph, isHost: (node: GraphNode) => boolean): Stage[] {
  const levels = new Map<GraphNode, number>();
  for (const node of graph.nodes) {
    const after = node.inputs.map(({ node: input }) => levels.get(input)! + Number(isHost(input)));
    levels.set(node, Math.max(0, ...after));
  }
  const last = Math.max(0, ...levels.values());
  const stages: Stage[] = [];
  for (let level = 0; level <= last; level++) stages.push(new StageBuilder(graph, levels, isHost, level).build());
  return stages;
}

const isFreeLeaf = (node: GraphNode): boolean => node.inputs.length === 0 && !isOp(node, 'input');

class StageBuilder {
  readonly #placeholders = new Map<string, GraphNode<'input'>>();
  readonly #local = new Map<GraphNode, GraphNode>();
  readonly #nodes: GraphNode[] = [];
  readonly #graph: Graph;
  readonly #levels: ReadonlyMap<GraphNode, number>;
  readonly #isHost: (node: GraphNode) => boolean;
  readonly #level: number;

  constructor(
    graph: Graph,
    levels: ReadonlyMap<GraphNode, number>,
    isHost: (node: GraphNode) => boolean,
    level: number,
  ) {
    this.#graph = graph;
    this.#levels = levels;
    this.#isHost = isHost;
    this.#level = level;
  }

  build(): Stage {
    const [graph, level, levels, isHost] = [this.#graph, this.#level, this.#levels, this.#isHost];
    const here = graph.nodes.filter((node) => levels.get(node) === level && !isOp(node, 'input') && !isFreeLeaf(node));
    for (const node of here) {
      if (isHost(node)) continue;
      const moved = makeNode(
        node.op,
        node.inputs.map((input) => this.#moved(input)),
        node.attributes,
      );
      this.#local.set(node, moved);
      this.#nodes.push(moved);
    }
    const hostNodes = here.filter((node): node is GraphNode<'kernel'> => isHost(node));
    const wanted = this.#wanted(hostNodes);
    const outputs = wanted.map(({ value }) => this.#moved(value));
    return {
      graph: {
        inputs: [...this.#placeholders.values()],
        outputs,
        nodes: [...this.#placeholders.values(), ...this.#nodes],
      },
      inputs: [...this.#placeholders.keys()],
      outputs: wanted.map(({ value, graphOutput }) => ({
        key: crossingKey(value),
        ...(graphOutput === undefined ? {} : { graphOutput }),
      })),
      hostNodes,
    };
  }

  /** What this stage gives: outputs of the graph, what its host nodes read, and what later stages read. */
  #wanted(hostNodes: readonly GraphNode[]): { value: Value; graphOutput?: number }[] {
    const [graph, level, levels, isHost] = [this.#graph, this.#level, this.#levels, this.#isHost];
    const makes = ({ node }: Value) => this.#local.has(node);
    const results: { value: Value; graphOutput?: number }[] = [];
    for (const [graphOutput, value] of graph.outputs.entries()) {
      // Inputs and leaves that are outputs go through the first stage, which gives them memory of their own.
      const isLeaf = isOp(value.node, 'input') || isFreeLeaf(value.node);
      if (isLeaf ? level === 0 : makes(value)) results.push({ value, graphOutput });
    }
    const known = new Set(results.map(({ value }) => crossingKey(value)));
    const crosses = (value: Value) => {
      if (known.has(crossingKey(value))) return;
      known.add(crossingKey(value));
      results.push({ value });
    };
    for (const node of hostNodes)
      for (const input of node.inputs) if (makes(input) || isFreeLeaf(input.node)) crosses(input);
    for (const node of graph.nodes) {
      if (levels.get(node)! > level || isHost(node)) for (const input of node.inputs) if (makes(input)) crosses(input);
    }
    return results;
  }

  #moved({ node, index }: Value): Value {
    if (isFreeLeaf(node)) {
      if (!this.#local.has(node)) {
        this.#local.set(node, node);
        this.#nodes.push(node);
      }
      return { node, index };
    }
    const moved = this.#local.get(node);
    if (moved) return { node: moved, index };
    const key = crossingKey({ node, index });
    const placeholder = this.#placeholders.get(key) ?? makeNode('input', [], { spec: specOf({ node, index }) });
    this.#placeholders.set(key, placeholder);
    return { node: placeholder, index: 0 };
  }
}
