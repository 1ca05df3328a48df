import { type Given, integer, number } from '@posttrain/interfaces';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf } from '../step-score.js';
import { stopOption } from '../steps.js';
import { mostOf } from '../tree-statistics.js';

const restMctsOptions = strategyOptions('rest-mcts', {
  /** V_θ, the quality of the text so far from 0 to 1: of a whole right solution 1 (`restStepValue` makes targets for one). */
  verifier: verifierOption,
  /** b, children of a node that is expanded. Default 3. */
  width: integer({ default: 3, min: 1 }),
  /** Steps drawn at each step of a rollout. Default 1. */
  rolloutWidth: integer({ default: 1, min: 1 }),
  /** m, steps of a rollout. Default 3. */
  rolloutSteps: integer({ default: 3, min: 0 }),
  /** α, how much a rollout counts in the value of the node that it began at. Default 0.5. */
  alpha: number({ default: 0.5, min: 0, max: 1 }),
  /** ε of UCB. Default 0.7. */
  exploration: number({ default: 0.7, min: 0 }),
  /** What a child that was never visited has in the place of the exploration term (`INF` of the authors' code). Default 1. */
  unvisited: number({ default: 1, min: 0 }),
  /** An ended text that is selected with a value of at least this ends the search. Default 0.9. */
  endValue: number({ default: 0.9 }),
  /** What ends a step. Default `['\n\n']`. */
  stop: stopOption,
  /** Steps at most. Default 40. */
  maxDepth: integer({ default: 40, min: 1 }),
});
/** Options of `restMcts`. `n` is the number of iterations. */
export type RestMctsOptions = Given<typeof restMctsOptions>;

/**
 * The quality value of a partial solution after step k, which ReST-MCTS* trains its value model on (§3.1):
 *
 *   v_k = max(0, v_{k−1} + (1 − v_{k−1}) / (m_k + 1) · (1 − 2 r_k))
 *
 * @param previous v_{k−1}; 0 before the first step
 * @param distance m_k, the fewest steps from here to a right answer
 * @param isWrong r_k: the step is wrong
 */
export const restStepValue = (previous: number, distance: number, isWrong: boolean): number =>
  Math.max(0, previous + ((1 - previous) / (distance + 1)) * (isWrong ? -1 : 1));

interface Tree {
  readonly node: SearchNode;
  readonly parent: Tree | undefined;
  children: Tree[];
  visits: number;
  value: number;
}

/**
 * MCTS* of ReST-MCTS* (arXiv 2406.03816, algorithm 2): a tree search led by a value model of partial solutions.
 *
 * 1. select from the root by V(c) + ε √(2 ln N(s) / N(c)), or V(c) + `unvisited` of a child that was never visited; an
 *    ended text with V ≥ `endValue` that is selected ends the search;
 * 2. expand the node by `width` steps and value each;
 * 3. roll out from the best child: up to `rolloutSteps` steps, greedy by value over `rolloutWidth` draws, and
 *    V(c) ← (1 − α) V(c) + α max of the values on the way;
 * 4. back up: every ancestor's V becomes the mean of its children's weighed by visits, Σ N(c) V(c) / Σ N(c).
 *
 * Unlike the mean over simulations of plain MCTS, a value is that of children as they stand, and what a rollout finds counts only
 * where it began. Returned is the ended text of highest value, tree and rollouts together; what is not scorable has value 0. Throws
 * `NoCandidateError` when no text has ended with a score.
 */
export async function restMcts(problem: Problem, options: RestMctsOptions): Promise<SearchResult> {
  const read = restMctsOptions.read(options);
  const { n, width, rolloutWidth, rolloutSteps, alpha, exploration, unvisited, endValue, stop, maxDepth } = read;
  const search = new Search(restMctsOptions, problem, options);
  const finished: SearchNode[] = [];
  const trees: Tree[] = [];
  const plant = (node: SearchNode, parent?: Tree): Tree => {
    const tree = { node, parent, children: [], visits: 0, value: node.score ?? 0 };
    trees.push(tree);
    return tree;
  };
  /** Steps from a node with their values. */
  const draw = async (node: SearchNode, count: number): Promise<SearchNode[]> => {
    const steps = await search.expand(node, { n: count, stop });
    await search.verify(steps);
    finished.push(...steps.filter(({ state }) => state === 'ended'));
    return steps.filter(({ score }) => score !== undefined);
  };
  const mayGrow = (node: SearchNode) => node.state === 'open' && node.depth < maxDepth;
  const select = (root: Tree): Tree => {
    let at = root;
    while (at.children.length > 0) {
      const { visits } = at;
      const bonus = (it: Tree) =>
        it.visits === 0 ? unvisited : exploration * Math.sqrt((2 * Math.log(visits)) / it.visits);
      at = mostOf(at.children, (it) => it.value + bonus(it))!;
    }
    return at;
  };
  const rollOut = async (from: SearchNode): Promise<number> => {
    let most = 0;
    let at: SearchNode | undefined = from;
    for (let step = 0; step < rolloutSteps && at && mayGrow(at); step++) {
      at = bestOf(await draw(at, rolloutWidth), ({ score }) => score ?? 0);
      most = Math.max(most, at?.score ?? 0);
    }
    return most;
  };

  const root = plant(search.root);
  let chosen: Tree | undefined;
  for (let i = 0; i < n && search.exhausted === null; i++) {
    const at = select(root);
    if (at.value >= endValue && at.node.state === 'ended') {
      chosen = at;
      break;
    }
    if (mayGrow(at.node)) {
      const steps = await draw(at.node, width);
      at.children = steps.map((step) => plant(step, at));
      const best = mostOf(at.children, ({ value }) => value);
      if (!best) break;
      if (mayGrow(best.node)) best.value = (1 - alpha) * best.value + alpha * (await rollOut(best.node));
      best.visits++;
    }
    for (let above: Tree | undefined = at; above; above = above.parent) {
      above.visits++;
      const visits = above.children.reduce((sum, child) => sum + child.visits, 0);
      const total = above.children.reduce((sum, child) => sum + child.visits * child.value, 0);
      if (visits > 0) above.value = total / visits;
    }
  }
  for (const { node, visits, value } of trees) if (visits > 0) node.payload = { visits, value };
  const best = chosen?.node ?? bestOf(finished, ({ score }) => score ?? null);
  if (!best) throw search.nothing('no text has ended with a score.');
  return search.finish(best, { reason: 'lower value' });
}
