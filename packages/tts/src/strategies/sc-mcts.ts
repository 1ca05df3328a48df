import { assertArgument, custom, type Given, integer, number } from '@posttrain/interfaces';
import { roleScores } from '../role-scores.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf } from '../step-score.js';
import { stopOption } from '../steps.js';
import { mostOf, TreeStatistics, uct } from '../tree-statistics.js';

/** How much each reward counts, by the role of its verifier. */
export type RewardWeights = Readonly<Record<string, number>>;

const isWeights = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  Object.values(value).length > 0 &&
  Object.values(value).every(Number.isFinite);

const scMctsOptions = strategyOptions('sc-mcts', {
  /** What chooses among the texts that have ended. */
  verifier: verifierOption,
  /** Weights of the step rewards, each of `verifiers[role]`: in the paper contrast, logLikelihood and selfEvaluation. */
  rewards: custom<RewardWeights>()('weights by role, as { contrast: 1, logLikelihood: 1 }', isWeights, {}),
  /** Children of a node that is expanded. Default 4. */
  width: integer({ default: 4, min: 1 }),
  /** C of UCT, in standard deviations of the rewards. Default 1. */
  exploration: number({ default: 1, min: 0 }),
  /** What ends a step. Default `['\n\n']`. */
  stop: stopOption,
  /** Steps at most. Default 40. */
  maxDepth: integer({ default: 40, min: 1 }),
});
/** Options of `scMcts`. `n` is the number of iterations. */
export type ScMctsOptions = Given<typeof scMctsOptions>;

/**
 * The contrastive reward of one token (arXiv 2410.01707 §3.1): the Jensen–Shannon divergence of an expert's and an amateur's distribution,
 * ½ KL(p ‖ m) + ½ KL(q ‖ m) with m = (p + q) / 2, in nats: 0 where they agree, ln 2 where they share nothing. That of a step is the mean over
 * its tokens.
 */
export function jensenShannon(p: readonly number[], q: readonly number[]): number {
  assertArgument('jensenShannon', 'q', q, q.length === p.length, `as long as p (${p.length})`);
  const half = (a: number, b: number) => (a > 0 ? 0.5 * a * Math.log((2 * a) / (a + b)) : 0);
  return p.reduce((sum, a, i) => sum + half(a, q[i]!) + half(q[i]!, a), 0);
}

/** Mean and deviation of what has come so far (Welford): rewards of unlike scales become comparable while they are met. */
class Running {
  #count = 0;
  #mean = 0;
  #squares = 0;

  add(x: number): void {
    this.#count++;
    const before = x - this.#mean;
    this.#mean += before / this.#count;
    this.#squares += before * (x - this.#mean);
  }

  /** (x − μ) / σ; 0 while all were the same. */
  standardized(x: number): number {
    const deviation = Math.sqrt(this.#squares / this.#count);
    return deviation > 0 ? (x - this.#mean) / deviation : 0;
  }
}

/**
 * SC-MCTS* (speculative contrastive MCTS, arXiv 2410.01707): MCTS over steps whose reward is a combination of several, each made comparable by
 * the mean and deviation of all that were met so far,
 *
 *   R(s, a) = Σ_i w_i (R_i(s, a) − μ_i) / σ_i
 *
 * with, in the paper, the Jensen–Shannon divergence between an expert and an amateur model (`jensenShannon`), the log-likelihood and the
 * model's own evaluation as R_i. Iterations select by UCT over Q, expand by `width` steps, go on along the children of highest reward
 * to an end, and back up: Q of a node is the mean over iterations of Σ R from it to the end, as in the authors' code.
 *
 * A reward of a large scale does not drown the others, as it does in their plain sum. Speculative decoding, which makes the paper's
 * search fast, is the generator's. Returned is the ended text that `verifier` scores highest; a reward that is not scorable counts as its mean. Throws
 * `NoCandidateError` when no text has ended with a score.
 */
export async function scMcts(problem: Problem, options: ScMctsOptions): Promise<SearchResult> {
  const { n, rewards, width, exploration, stop, maxDepth } = scMctsOptions.read(options);
  const search = new Search(scMctsOptions, problem, options);
  const roles = Object.keys(rewards);
  for (const role of roles) {
    const isThere = options.verifiers?.[role] !== undefined;
    assertArgument(scMctsOptions.where, 'verifiers', options.verifiers, isThere, `verifiers with the reward ${role}`);
  }
  const tree = new TreeStatistics();
  const raw = new Map<SearchNode, readonly (number | null)[]>();
  const running = roles.map(() => new Running());
  const finished: SearchNode[] = [];
  const rewardOf = (node: SearchNode): number =>
    roles.reduce((sum, role, i) => {
      const x = raw.get(node)?.[i] ?? null;
      return sum + (x === null ? 0 : rewards[role]! * running[i]!.standardized(x));
    }, 0);

  const expand = async (node: SearchNode): Promise<void> => {
    const drawn = await search.expand(node, { n: width, stop });
    const scores: (number | null | undefined)[][] = [];
    for (const role of roles) scores.push(await roleScores(search, drawn, role));
    const children = drawn.filter((_, k) => scores.every((list) => list[k] !== undefined));
    for (const child of children) {
      const own = scores.map((list) => list[drawn.indexOf(child)] ?? null);
      raw.set(child, own);
      own.forEach((x, i) => {
        if (x !== null) running[i]!.add(x);
      });
    }
    tree.of(node).children.push(...children);
  };
  const isOver = (node: SearchNode) => node.state !== 'open' || node.depth >= maxDepth;
  const worth = (child: SearchNode, parent: SearchNode) => {
    const { visits } = tree.of(child);
    // As the authors' code: its reward in the place of Q, and one visit, where it was never visited.
    const q = visits === 0 ? rewardOf(child) : tree.q(child);
    return uct(q, Math.max(1, visits), Math.max(1, tree.of(parent).visits), exploration);
  };

  for (let i = 0; i < n && search.exhausted === null; i++) {
    const path = tree.select(search.root, worth);
    for (let at = path.at(-1)!; !isOver(at); at = path.at(-1)!) {
      await expand(at);
      const best = mostOf(tree.of(at).children, rewardOf);
      if (!best) break;
      path.push(best);
    }
    const leaf = path.at(-1)!;
    if (!isOver(leaf)) break;
    if (leaf.state === 'ended' && leaf.score === undefined) {
      await search.verify([leaf]);
      finished.push(leaf);
    }
    let sum = 0;
    for (const node of [...path].reverse()) {
      if (node !== search.root) sum += rewardOf(node);
      tree.backUp([node], sum);
    }
  }
  for (const [node, scores] of raw) {
    node.payload = { rewards: Object.fromEntries(roles.map((role, i) => [role, scores[i] ?? null])) };
  }
  tree.write();
  const best = bestOf(finished, ({ score }) => score ?? null);
  if (!best) throw search.nothing('no text has ended with a score.');
  return search.finish(best, { reason: 'lower score' });
}
