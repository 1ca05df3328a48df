import { assertArgument, type Given, integer, number, oneOf } from '@posttrain/interfaces';
import { ContractError } from '../errors.js';
import { optionalFunction } from '../function-option.js';
import { roleScores } from '../role-scores.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf } from '../step-score.js';
import { stopOption } from '../steps.js';
import { mostOf, puct, TreeStatistics, uct } from '../tree-statistics.js';

const mctsOptions = strategyOptions('mcts', {
  verifier: verifierOption,
  /** Children of a node that is expanded. Default 4. */
  width: integer({ default: 4, min: 1 }),
  /** How a path is chosen: by UCT, or by PUCT with the priors of `verifiers.prior`. Default `uct`. */
  policy: oneOf(['uct', 'puct'], { default: 'uct' }),
  /** w of UCT, how much a rarely visited child counts. Default 1; verifiers score from 0 to 1. */
  exploration: number({ default: 1, min: 0 }),
  /** c_base of PUCT. Default 19652. */
  puctBase: number({ default: 19652, above: 0 }),
  /** c_init of PUCT. Default 1.25. */
  puctInit: number({ default: 1.25, min: 0 }),
  /** What ends a step. Default `['\n\n']`. */
  stop: stopOption,
  /** Steps at most; a node so deep is valued and not expanded. Default 40. */
  maxDepth: integer({ default: 40, min: 1 }),
  /**
   * How a new leaf is valued: `rollout` completes the text from it and scores that, for verifiers of whole answers; `value`
   * scores the text so far, for process verifiers. Default `rollout`.
   */
  simulation: oneOf(['rollout', 'value'], { default: 'rollout' }),
  /**
   * What state a text has come to, as a key: texts of as many steps with one key are one node, whose visits and values all paths to it share. Default: no two
   * are.
   */
  stateOf: optionalFunction<(text: string) => string>('a function that makes a key of a text'),
});
/** Options of `mcts`. `n` is the number of simulations. */
export type MctsOptions = Given<typeof mctsOptions>;

/**
 * Monte Carlo tree search over steps with UCT (RAP, arXiv 2305.14992 §3.3). Each of `n` simulations
 *
 * 1. selects: from the root to a leaf, each time the child with the highest Q(c) + w √(ln N(s) / N(c)), the first of several; or by
 *    AlphaZero's PUCT (`puct`), with the scores of `verifiers.prior` over siblings, made to sum to 1, as P (all equal without it);
 * 2. expands the leaf by `width` next steps, unless the model has ended it, and goes to the first of them;
 * 3. simulates: v is the score of the text completed from there (`rollout`), or of the text itself (`value`, and always
 *    where the model has ended it); what is not scorable has v = 0;
 * 4. backs up: N ← N + 1, W ← W + v, Q = W / N for every node of the path.
 *
 * With `stateOf` the tree is a graph (transpositions; UCT1 of Childs, Brodeur and Kocsis 2008): a step that comes to a state that is there already, by as
 * many steps, leads to the node of that state. N(s) and N(c) are then of all paths, and a simulation is backed up along the one that it
 * took. The text goes on as it was first written.
 *
 * The ended text with the highest score that any simulation has met is returned, the first of several. Throws
 * `NoCandidateError` when none has ended with a score.
 */
export async function mcts(problem: Problem, options: MctsOptions): Promise<SearchResult> {
  const { n, width, policy, exploration, puctBase, puctInit, stop, maxDepth, simulation, stateOf } =
    mctsOptions.read(options);
  const search = new Search(mctsOptions, problem, options);
  const hasPriors = options.verifiers?.prior !== undefined;
  const usesPriors = policy === 'puct' || !hasPriors;
  assertArgument(mctsOptions.where, 'policy', policy, usesPriors, "'puct', which uses verifiers.prior");
  const isOfUct = stateOf === undefined || policy === 'uct';
  assertArgument(
    mctsOptions.where,
    'stateOf',
    stateOf,
    isOfUct,
    "left out with policy 'puct', whose priors are of siblings",
  );
  const tree = new TreeStatistics();
  const finished: SearchNode[] = [];
  const worth = (child: SearchNode, parent: SearchNode): number => {
    const { visits, prior } = tree.of(child);
    const { visits: parentVisits } = tree.of(parent);
    if (policy === 'uct') return uct(tree.q(child), visits, parentVisits, exploration);
    return puct(tree.q(child), prior, visits, parentVisits, { base: puctBase, init: puctInit });
  };
  /** P of the children of a node; whether the budget allowed to ask. */
  const weigh = async (children: readonly SearchNode[]): Promise<boolean> => {
    if (!hasPriors) {
      for (const child of children) tree.of(child).prior = 1 / children.length;
      return true;
    }
    const scores = await roleScores(search, children, 'prior');
    const sum = scores.reduce<number>((total, score) => total + (score ?? 0), 0);
    scores.forEach((score, i) => {
      if ((score ?? 0) < 0)
        throw new ContractError(`verifiers.prior gave the prior ${score}; priors are not negative.`);
      tree.of(children[i]!).prior = sum > 0 ? (score ?? 0) / sum : 1 / children.length;
    });
    return !scores.includes(undefined);
  };
  const states = new Map<string, SearchNode>();
  /** The node of each child's state, each once. Of one depth only, so that no path leads back. */
  const merged = (children: readonly SearchNode[]): SearchNode[] => {
    if (!stateOf) return [...children];
    const known = children.map((child) => {
      const key = `${child.depth} ${child.state} ${stateOf(child.text)}`;
      const found = states.get(key) ?? child;
      if (found === child) states.set(key, child);
      else child.node.reason = `merged: the state of node ${found.node.id}`;
      return found;
    });
    return [...new Set(known)];
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
    const path = tree.select(search.root, worth);
    const leaf = path.at(-1)!;
    if (leaf.state === 'open' && leaf.depth < maxDepth) {
      const children = merged(await search.expand(leaf, { n: width, stop }));
      if (children.length === 0 || !(await weigh(children))) break;
      tree.of(leaf).children.push(...children);
      // PUCT begins with what the prior says is likely.
      path.push(policy === 'uct' ? children[0]! : mostOf(children, (child) => tree.of(child).prior)!);
    }
    const value = await simulate(path.at(-1)!);
    if (value === undefined) break;
    tree.backUp(path, value);
  }
  tree.write();
  const best = bestOf(finished, ({ score }) => score ?? null);
  if (!best) throw search.nothing('no text has ended with a score.');
  return search.finish(best, { reason: 'lower score' });
}
