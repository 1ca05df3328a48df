import type { SearchNode } from './search-node.js';

/** What a Monte Carlo tree search knows of a node. */
export interface Statistics {
  /** N. */
  visits: number;
  /** W, the sum of the values that were backed up through it. */
  total: number;
  /** P, its prior among its siblings. */
  prior: number;
  readonly children: SearchNode[];
}

/** Visits, values and children of the nodes of a tree: what is the same in every Monte Carlo tree search. */
export class TreeStatistics {
  readonly #known = new Map<SearchNode, Statistics>();

  of(node: SearchNode): Statistics {
    const found = this.#known.get(node);
    if (found) return found;
    const fresh: Statistics = { visits: 0, total: 0, prior: 1, children: [] };
    this.#known.set(node, fresh);
    return fresh;
  }

  /** Q = W / N; 0 of a node that was never visited. */
  q(node: SearchNode): number {
    const { visits, total } = this.of(node);
    return visits === 0 ? 0 : total / visits;
  }

  /** The path from the root to a leaf, each time to the child that is worth most, the first of several. */
  select(root: SearchNode, worth: (child: SearchNode, parent: SearchNode) => number): SearchNode[] {
    const path = [root];
    for (;;) {
      const parent = path.at(-1)!;
      const next = mostOf(this.of(parent).children, (child) => worth(child, parent));
      if (!next) return path;
      path.push(next);
    }
  }

  /** N ← N + 1 and W ← W + v for every node of the path. */
  backUp(path: readonly SearchNode[], value: number): void {
    for (const node of path) {
      const at = this.of(node);
      at.visits++;
      at.total += value;
    }
  }

  /** Writes visits and Q into the payload of every node that was visited, beside what is there. */
  write(): void {
    for (const [node, { visits, total }] of this.#known) {
      if (visits === 0) continue;
      const kept = typeof node.payload === 'object' && node.payload !== null ? node.payload : {};
      node.payload = { ...kept, visits, q: total / visits };
    }
  }
}

/** The item that is worth most, the first of several; `undefined` of none. */
export function mostOf<T>(items: readonly T[], worth: (item: T) => number): T | undefined {
  let best: T | undefined;
  let most = Number.NEGATIVE_INFINITY;
  for (const item of items) {
    const value = worth(item);
    if (best !== undefined && !(value > most)) continue;
    best = item;
    most = value;
  }
  return best;
}

/**
 * UCT (Kocsis and Szepesvári 2006, as in RAP): Q + w √(ln N_parent / N). A node that was never visited comes first.
 *
 * @param q the mean of the node's values
 */
export const uct = (q: number, visits: number, parentVisits: number, w: number): number =>
  visits === 0 ? Number.POSITIVE_INFINITY : q + w * Math.sqrt(Math.log(parentVisits) / visits);

/**
 * PUCT of AlphaZero (Silver et al. 2018): Q + (ln((N_parent + c_base + 1) / c_base) + c_init) P √N_parent / (1 + N).
 *
 * @param base c_base, 19652 in the paper
 * @param init c_init, 1.25 in the paper; with `base` infinite it is the constant of PUCT as it was before (Rosin 2011)
 */
export function puct(
  q: number,
  prior: number,
  visits: number,
  parentVisits: number,
  { base = 19652, init = 1.25 }: { readonly base?: number; readonly init?: number } = {},
): number {
  const growth = base === Number.POSITIVE_INFINITY ? 0 : Math.log((parentVisits + base + 1) / base);
  return q + ((growth + init) * prior * Math.sqrt(parentVisits)) / (1 + visits);
}
