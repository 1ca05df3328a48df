import type { TraceNode } from './trace.js';

/** A node of the problem's own tree with what the search knows of it. */
export interface ValuedNode {
  readonly node: TraceNode;
  /** Q of a Monte Carlo tree search, else the score. */
  readonly value: number;
  /** Whether its solution is right; `undefined` of what is no solution. */
  readonly isRight: boolean | undefined;
  readonly children: readonly ValuedNode[];
}

/**
 * Pairs of steps that the process preference model (PPM) of rStar-Math is trained on (arXiv 2501.04519 §3.3), as the authors' code takes them.
 * Of the steps from one place
 *
 * - up to two are positive: those of highest Q below which a right solution lies; up to two are negative: those of lowest Q below which
 *   a wrong one lies. Where there is only one of a kind, up to four are taken of the other;
 * - each positive makes a pair with each negative of another text that has a lower Q, if also the mean Q along the best way to a right solution from the one is
 *   above that along the worst way to a wrong one from the other.
 *
 * Q is only put in order by it and never a label, which it is too noisy for: the loss is −ln σ(r(positive) − r(negative)), a Bradley–Terry model.
 *
 * @param root whose descendants are looked at, place by place in order of breadth
 */
export function processPreferences(root: ValuedNode): (readonly [chosen: ValuedNode, rejected: ValuedNode])[] {
  const pairs: [ValuedNode, ValuedNode][] = [];
  const places = [root];
  for (const place of places) {
    const right = place.children.filter((it) => leadsTo(it, true)).sort((a, b) => b.value - a.value);
    const wrong = place.children.filter((it) => leadsTo(it, false)).sort((a, b) => a.value - b.value);
    const chosen = right.slice(0, wrong.length === 1 ? 4 : 2);
    const rejected = wrong.slice(0, right.length === 1 ? 4 : 2);
    for (const better of chosen) {
      for (const worse of rejected.filter(({ node }) => node.text !== better.node.text)) {
        if (better.value > worse.value && meanAlong(better, true) > meanAlong(worse, false))
          pairs.push([better, worse]);
      }
    }
    places.push(...place.children.filter((it) => leadsTo(it, true) && leadsTo(it, false)));
  }
  return pairs;
}

function leadsTo({ isRight, children }: ValuedNode, wanted: boolean): boolean {
  return isRight === wanted || children.some((child) => leadsTo(child, wanted));
}

/** The mean value on the way down to a solution that is right (wrong), each time by the child of highest (lowest) value. */
function meanAlong(from: ValuedNode, isRight: boolean): number {
  const values: number[] = [];
  for (let at: ValuedNode | undefined = from; at; ) {
    values.push(at.value);
    const next: ValuedNode[] = at.children.filter((it) => leadsTo(it, isRight));
    at = next.sort((a, b) => (isRight ? b.value - a.value : a.value - b.value))[0];
  }
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
