import { type Given, integer, listOf, number, oneOf, text } from '@posttrain/interfaces';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf } from '../step-score.js';

const mctsOptions = strategyOptions('mcts', {
  verifier: verifierOption,
  /** Children of a node that is expanded. Default 4. */
  width: integer({ default: 4, min: 1 }),
  /** w, how much a rarely visited child counts. Default 1; verifiers score from 0 to 1. */
  exploration: number({ default: 1, min: 0 }),
  /** What ends a step. Default `['\n\n']`. */
  stop: listOf(text({}), { default: ['\n\n'] }),
  /** Steps at most; a node so deep is valued and not expanded. Default 40. */
  maxDepth: integer({ default: 40, min: 1 }),
  /**
   * How a new leaf is valued: `rollout` completes the text from it and scores that, for verifiers of whole answers; `value`
   * scores the text so far, for process verifiers. Default `rollout`.
   */
  simulation: oneOf(['rollout', 'value'], { default: 'rollout' }),
});
/** Options of `mcts`. `n` is the number of simulations. */
export type MctsOptions = Given<typeof mctsOptions>;

/** What the search keeps of a node, and writes to the trace. */
interface Statistics {
  visits: number;
  total: number;
  readonly children: SearchNode[];
}

/**
 * UCT (Kocsis and Szepesvári 2006, as in RAP): Q + w √(ln N_parent / N). A node that was never visited comes first.
 *
 * @param q the mean of the node's values
 */
export const uct = (q: number, visits: number, parentVisits: number, w: number): number =>
  visits === 0 ? Number.POSITIVE_INFINITY : q + w * Math.sqrt(Math.log(parentVisits) / visits);

/**
 * Monte Carlo tree search over steps with UCT (RAP, arXiv 2305.14992 §3.3). Each of `n` simulations
 *
 * 1. selects: from the root to a leaf, each time the child with the highest Q(c) + w √(ln N(s) / N(c)), the first of several;
 * 2. expands the leaf by `width` next steps, unless the model has ended it, and goes to the first of them;
 * 3. simulates: v is the score of the text completed from there (`rollout`), or of the text itself (`value`, and always
 *    where the model has ended it); what is not scorable has v = 0;
 * 4. backs up: N ← N + 1, W ← W + v, Q = W / N for every node of the path.
 *
 * The ended text with the highest score that any simulation has met is returned, the first of several. Throws
 * `NoCandidateError` when none has ended with a score.
 */
export async function mcts(problem: Problem, options: MctsOptions): Promise<SearchResult> {
  const { n, width, exploration, stop, maxDepth, simulation } = mctsOptions.read(options);
  const search = new Search(mctsOptions, problem, options);
  const statistics = new Map<SearchNode, Statistics>();
  const of = (node: SearchNode): Statistics => {
    const found = statistics.get(node) ?? { visits: 0, total: 0, children: [] };
    statistics.set(node, found);
    return found;
  };
  const finished: SearchNode[] = [];

  const select = (): SearchNode[] => {
    const path = [search.root];
    for (let at = of(search.root); at.children.length > 0; at = of(path.at(-1)!)) {
      const parentVisits = at.visits;
      const worth = at.children.map((child) => {
        const { visits, total } = of(child);
        return uct(total / visits, visits, parentVisits, exploration);
      });
      path.push(at.children[worth.indexOf(Math.max(...worth))]!);
    }
    return path;
  };
  /** The value of a leaf; `undefined` when the budget ended it. */
  const simulate = async (leaf: SearchNode): Promise<number | undefined> => {
    const isWhole = leaf.state !== 'open';
    const [valued] = isWhole || simulation === 'value' ? [leaf] : await search.expand(leaf, { n: 1 });
    if (!valued) return undefined;
    // An ended leaf is selected again and again, and judged once.
    if (valued.score === undefined) {
      await search.verify([valued]);
      if (valued.score === undefined) return undefined;
      if (valued.state === 'ended') finished.push(valued);
    }
    return valued.score ?? 0;
  };

  for (let i = 0; i < n; i++) {
    const path = select();
    const leaf = path.at(-1)!;
    if (leaf.state === 'open' && leaf.depth < maxDepth) {
      const children = await search.expand(leaf, { n: width, stop });
      if (children.length === 0) break;
      of(leaf).children.push(...children);
      path.push(children[0]!);
    }
    const value = await simulate(path.at(-1)!);
    if (value === undefined) break;
    for (const node of path) {
      const at = of(node);
      at.visits++;
      at.total += value;
    }
  }
  for (const [node, { visits, total }] of statistics) if (visits > 0) node.payload = { visits, q: total / visits };
  const best = bestOf(finished, ({ score }) => score ?? null);
  if (!best) throw search.nothing('no text has ended with a score.');
  return search.finish(best, { reason: 'lower score' });
}
