import type { SearchNode } from './search-node.js';

/** How the scores of the steps of a text become one: the last, the least, or their product. */
export type StepAggregation = 'last' | 'min' | 'prod';

export const STEP_AGGREGATIONS = ['last', 'min', 'prod'] as const satisfies readonly StepAggregation[];

/** The score of a text by its steps', where the verifier gives those; else its own. `null`: none. */
export function stepScore({ stepScores, score }: SearchNode, aggregation: StepAggregation): number | null {
  if (!stepScores || stepScores.length === 0) return score ?? null;
  switch (aggregation) {
    case 'last':
      return stepScores.at(-1)!;
    case 'min':
      return Math.min(...stepScores);
    case 'prod':
      return stepScores.reduce((product, step) => product * step, 1);
  }
}

/** The node with the highest score, the first of several; `undefined` when none has one. */
export function bestOf(
  nodes: readonly SearchNode[],
  scoreOf: (node: SearchNode) => number | null,
): SearchNode | undefined {
  return byScore(nodes, scoreOf)[0];
}

/** Nodes that have a score, the highest first; those of one score in their order. */
export function byScore(nodes: readonly SearchNode[], scoreOf: (node: SearchNode) => number | null): SearchNode[] {
  return nodes
    .flatMap((node) => {
      const score = scoreOf(node);
      return score === null ? [] : [{ node, score }];
    })
    .sort((a, b) => b.score - a.score)
    .map(({ node }) => node);
}
