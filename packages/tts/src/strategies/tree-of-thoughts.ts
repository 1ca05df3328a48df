import { type Given, integer, number, oneOf } from '@posttrain/interfaces';
import { InvalidArgumentError } from '../errors.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf } from '../step-score.js';
import { bestFirst, breadthFirst, depthFirst } from '../thought-orders.js';
import { Thoughts, thoughtSettings, thoughtShape, thoughtValue } from '../thoughts.js';

const treeOfThoughtsOptions = strategyOptions('tree-of-thoughts', {
  ...thoughtShape,
  /** The order. Default `bfs`; all others need values. */
  search: oneOf(['bfs', 'dfs', 'beam', 'a-star'], { default: 'bfs' }),
  /** v_th: only states of a value above it are gone into (`dfs`). Default: all, the best first. */
  threshold: number({ optional: true }),
  /** How many solutions end the search (`dfs`, `a-star`). Default 1. */
  outputs: integer({ default: 1, min: 1 }),
  /** What a thought costs, in values (`a-star`). Default 0: best-first. */
  thoughtCost: number({ default: 0, min: 0 }),
});
/** Options of `treeOfThoughts`. `n` is k, the thoughts that are generated from each state. */
export type TreeOfThoughtsOptions = Given<typeof treeOfThoughtsOptions>;

/**
 * Tree of Thoughts (arXiv 2305.10601 §3): states s = [x, z_1 … z_i] of i thoughts, G proposes or samples k next ones, and V judges by the
 * model itself: the mean of the numbers in `evaluations` valuations of a state, or the votes for it among the states of its step.
 *
 *   BFS (algorithm 1): S'_t = {[s, z] : s ∈ S_{t−1}, z ∈ G(s, k)}, and S_t = the b of S'_t that V puts first, t = 1 … T
 *   DFS (algorithm 2): goes into every s' ∈ G(s, k) with V(s') > v_th, the best first, and records a solution at depth T
 *   beam: BFS over Σ V along the path in the place of V (the cumulative reward of LLM Reasoners, arXiv 2404.05221)
 *   A*: of all open states the one with the highest V(s) − thoughtCost · i, until that is a solution
 *
 * A state that another has the text of is not judged again and dropped. One that the model has ended is a solution already: it is compared with those of
 * later steps. Returned is the first of S_T, or of the other orders the solution with the highest value. Ties go to the earlier state; what has no value
 * is not kept. Evaluations are completions of the budget, and nodes of the trace. Throws `NoCandidateError` without a solution.
 */
export async function treeOfThoughts(problem: Problem, options: TreeOfThoughtsOptions): Promise<SearchResult> {
  const read = treeOfThoughtsOptions.read(options);
  const { steps, breadth, search: order, threshold = Number.NEGATIVE_INFINITY, outputs, thoughtCost } = read;
  const { where } = treeOfThoughtsOptions;
  const search = new Search(treeOfThoughtsOptions, problem, options);
  const compares = read.evaluation.method === 'vote';
  if (order !== 'bfs' && compares) {
    throw new InvalidArgumentError(
      `${where}: search '${order}' needs values; votes compare the states of a step only.`,
    );
  }
  const thoughts = new Thoughts(search, thoughtSettings(where, read, options.generators));
  const pathSum = (state: SearchNode): number =>
    (thoughtValue(state) ?? 0) + state.parents.reduce((sum, parent) => sum + pathSum(parent), 0);
  const pathValue = (state: SearchNode) => (thoughtValue(state) === null ? null : pathSum(state));
  const find = (): Promise<SearchNode[]> => {
    if (order === 'dfs') return depthFirst(thoughts, search.root, { threshold, outputs });
    if (order === 'a-star') return bestFirst(thoughts, search.root, { thoughtCost, outputs });
    return breadthFirst(thoughts, search.root, {
      ...{ steps, breadth, compares },
      ...(order === 'beam' && { worth: pathValue }),
    });
  };
  const solutions = await find();
  const best = order === 'beam' ? bestOf(solutions, pathValue) : bestOf(solutions, thoughtValue);
  if (!best) throw search.nothing(`no state has ${steps} steps and a value.`);
  return search.finish(best, { reason: 'lower score' });
}
