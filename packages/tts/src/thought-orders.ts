import type { SearchNode } from './search-node.js';
import { byScore } from './step-score.js';
import { type Thoughts, thoughtValue } from './thoughts.js';
import { mostOf } from './tree-statistics.js';

/** The orders in which a tree of thoughts is searched: each gives the solutions that it has met. */

/** What `afterStep` may do with the states of a step before they are ranked. */
export interface Breadth {
  readonly steps: number;
  readonly breadth: number;
  /** All states of a step are judged anew in each, as votes are. */
  readonly compares: boolean;
  /** Default: the state's value. */
  readonly worth?: (state: SearchNode) => number | null;
  /** The states to go on with in the place of those that were valued. */
  readonly afterStep?: (states: readonly SearchNode[]) => Promise<readonly SearchNode[]>;
}

/** The `breadth` states of each step that are worth most (algorithm 1); what has ended is compared with later states. */
export async function breadthFirst(
  thoughts: Thoughts,
  root: SearchNode,
  { steps, breadth, compares, worth = thoughtValue, afterStep }: Breadth,
): Promise<SearchNode[]> {
  let kept: readonly SearchNode[] = [root];
  for (let step = 1; step <= steps && kept.length > 0; step++) {
    const ended = step === 1 ? [] : kept.filter(({ state }) => state !== 'open');
    const fresh = await thoughts.generate(kept.filter(({ state }) => state === 'open'));
    await thoughts.evaluate(compares ? [...ended, ...fresh] : fresh);
    const states = [...ended, ...(afterStep ? await afterStep(fresh) : fresh)];
    const ranked = byScore(states, worth);
    kept = ranked.slice(0, breadth);
    for (const { node } of ranked.slice(breadth)) node.reason = `not among the ${breadth} best of step ${step}`;
  }
  return kept.filter((state) => state !== root);
}

/** Into every state whose value is above `threshold`, the best first, until there are `outputs` solutions (algorithm 2). */
export async function depthFirst(
  thoughts: Thoughts,
  root: SearchNode,
  { threshold, outputs }: { readonly threshold: number; readonly outputs: number },
): Promise<SearchNode[]> {
  const solutions: SearchNode[] = [];
  const goInto = async (state: SearchNode, depth: number): Promise<void> => {
    if (thoughts.isSolution(state, depth)) {
      solutions.push(state);
      return;
    }
    const states = await thoughts.generate([state]);
    await thoughts.evaluate(states);
    for (const next of byScore(states, thoughtValue)) {
      if (solutions.length >= outputs) return;
      if (next.score! > threshold) await goInto(next, depth + 1);
      else next.node.reason = `value not above ${threshold}`;
    }
  };
  await goInto(root, 0);
  return solutions;
}

/**
 * Best-first: of all open states the one with the highest f = V − c · thoughts, until `outputs` solutions have come first. With c the cost
 * of a thought and V never less than what a solution below a state is worth less the cost of reaching it, that is A*, and the
 * first solution is the best.
 */
export async function bestFirst(
  thoughts: Thoughts,
  root: SearchNode,
  { thoughtCost, outputs }: { readonly thoughtCost: number; readonly outputs: number },
): Promise<SearchNode[]> {
  const solutions: SearchNode[] = [];
  const open = new Map<SearchNode, number>([[root, 0]]);
  while (open.size > 0 && solutions.length < outputs) {
    const f = (state: SearchNode) => (thoughtValue(state) ?? 0) - thoughtCost * open.get(state)!;
    const state = mostOf([...open.keys()], f)!;
    const depth = open.get(state)!;
    open.delete(state);
    if (thoughts.isSolution(state, depth)) {
      solutions.push(state);
      continue;
    }
    const states = await thoughts.generate([state]);
    await thoughts.evaluate(states);
    for (const next of byScore(states, thoughtValue)) open.set(next, depth + 1);
  }
  for (const { node } of open.keys()) node.reason = 'not come to';
  return solutions;
}
