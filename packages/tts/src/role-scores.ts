import type { Search } from './search.js';
import type { SearchNode } from './search-node.js';

/**
 * What another verifier (`verifiers[role]`) says of nodes, beside the score that they have: `null` not scorable, `undefined` not
 * asked, where the budget did not allow it.
 */
export async function roleScores(
  search: Search,
  nodes: readonly SearchNode[],
  role: string,
): Promise<(number | null | undefined)[]> {
  const before = nodes.map(({ node: { score, reason } }) => ({ score, reason }));
  for (const { node } of nodes) delete node.score;
  await search.verify(nodes, { role });
  return nodes.map(({ node }, i) => {
    const { score } = node;
    const { score: own, reason } = before[i]!;
    if (own === undefined) delete node.score;
    else node.score = own;
    if (score !== undefined) {
      if (reason === undefined) delete node.reason;
      else node.reason = reason;
    }
    return score;
  });
}
