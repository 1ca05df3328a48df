import { type Given, integer, number } from '@posttrain/interfaces';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf } from '../step-score.js';
import { stopOption } from '../steps.js';
import { mostOf } from '../tree-statistics.js';

const liteSearchOptions = strategyOptions('lite-search', {
  /** The value of the text so far: the probability, from 0 to 1, that it comes out right. */
  verifier: verifierOption,
  /** ε, the probability to be reached that one child of a node comes out right. Default 0.9. */
  expected: number({ default: 0.9, above: 0, below: 1 }),
  /** A solution of a value above this (and above the greedy one's) ends the search. Default 0.8. */
  minValue: number({ default: 0.8 }),
  /** So many solutions end it, too. Default 5. */
  maxSolutions: integer({ default: 5, min: 1 }),
  /** Nodes that are expanded at most. Default 100. */
  iterations: integer({ default: 100, min: 1 }),
  /** What ends a step. Default `['\n']`. */
  stop: stopOption,
  /** Steps at most; the last one runs to the model's own end. Default 40. */
  maxSteps: integer({ default: 40, min: 1 }),
});
/** Options of `liteSearch`. `n` is b, the most children of a node. */
export type LiteSearchOptions = Given<typeof liteSearchOptions>;

/** What the exploration budget of a node depends on beside its value. */
export interface LiteSearchNode {
  /** 1 for the root. */
  readonly depth: number;
  readonly expected: number;
  /** b. */
  readonly most: number;
  /** v̂, the value of a greedy answer; `null`: not known. */
  readonly progress: number | null;
}

/**
 * The exploration budget of a node (arXiv 2407.00320 §3.2, as the authors' code counts it): the fewest draws of which one comes out right
 * with a probability above ε, ⌈ln(1 − ε) / ln(1 − v)⌉ with v ← (v + v̂ / d) / (1 + 1 / d), over the depth d; from 2 to b. A node of no
 * value has none.
 */
export function liteSearchBudget(value: number, { depth, expected, most, progress }: LiteSearchNode): number {
  if (value <= 0) return 0;
  const mixed = progress === null ? value : (value + progress / depth) / (1 + 1 / depth);
  let draws = 1;
  while (draws < most && 1 - (1 - mixed) ** draws <= expected) draws++;
  return Math.min(Math.max(roundHalfEven(draws / depth), 2), most);
}

/** Of two that are as near the even one, as Python rounds. */
function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

/**
 * LiteSearch (arXiv 2407.00320): best-first by the value network, with a budget of children for each node that is small where the value is
 * high and where the node is deep.
 *
 * 1. a greedy answer and its value v̂ (the progress that is to be expected);
 * 2. of all nodes with budget left, and all solutions, take the one of highest value; when that is a solution, end;
 * 3. draw as many children as its budget has left, the first of them greedily, and give each child a budget (`liteSearchBudget`).
 *
 * The search ends with a solution that is worth more than max(`minValue`, v̂ − 0.01), at `maxSolutions`, when the best node is worth
 * less than 0.01, at `iterations` or with the budget. The best solution is returned, the greedy one among them; ties go to the earlier.
 * Throws `NoCandidateError` when none has a score.
 */
export async function liteSearch(problem: Problem, options: LiteSearchOptions): Promise<SearchResult> {
  const { n, expected, minValue, maxSolutions, iterations, stop, maxSteps } = liteSearchOptions.read(options);
  const search = new Search(liteSearchOptions, problem, options);
  const budgets = new Map<SearchNode, number>();
  const solutions: SearchNode[] = [];
  const worth = ({ score }: SearchNode) => score ?? 0;

  const [greedy] = await search.expand(search.root, { n: 1, sampling: { temperature: 0 } });
  await search.verify([search.root, ...(greedy ? [greedy] : [])]);
  const progress = greedy?.score ?? null;
  const give = (node: SearchNode) => {
    budgets.set(node, liteSearchBudget(worth(node), { depth: node.depth + 1, expected, most: n, progress }));
  };
  give(search.root);
  const isEnough = () => {
    const best = bestOf(solutions, ({ score }) => score ?? null);
    return best !== undefined && worth(best) > Math.max(minValue, progress === null ? 0 : progress - 0.01);
  };
  for (let i = 0; i < iterations && search.exhausted === null; i++) {
    if (isEnough() || solutions.length >= maxSolutions) break;
    const open = [...budgets.keys()].filter((node) => budgets.get(node)! > 0);
    const best = mostOf([...open, ...solutions], worth);
    if (!best || !budgets.has(best) || (best !== search.root && worth(best) < 0.01)) break;
    const count = budgets.get(best)!;
    budgets.set(best, 0);
    const ends = best.depth + 1 >= maxSteps ? [] : stop;
    const [first, rest] = await Promise.all([
      search.expand(best, { n: 1, stop: ends, sampling: { temperature: 0 } }),
      count > 1 ? search.expand(best, { n: count - 1, stop: ends }) : [],
    ]);
    const children = [...first, ...rest];
    await search.verify(children);
    for (const child of children) {
      if (child.state === 'ended') solutions.push(child);
      if (child.state !== 'open') continue;
      give(child);
      child.payload = { budget: budgets.get(child)! };
    }
  }
  const found = [...(greedy ? [greedy] : []), ...solutions].filter(({ state }) => state === 'ended');
  const best = bestOf(found, ({ score }) => score ?? null);
  if (!best) throw search.nothing('no text has ended with a score.');
  return search.finish(best, { reason: 'lower value' });
}
