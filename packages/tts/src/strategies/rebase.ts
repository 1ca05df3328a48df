import { type Given, integer, listOf, number, oneOf, text } from '@posttrain/interfaces';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf, byScore, STEP_AGGREGATIONS, stepScore } from '../step-score.js';
import { finishVote, withAnswer } from '../voting.js';
import { assertWeight } from './weighted-best-of-n.js';

const rebaseOptions = strategyOptions('rebase', {
  verifier: verifierOption,
  /** T_b, the temperature of the softmax over rewards: large is even, small is greedy. Default 0.2. */
  balanceTemperature: number({ default: 0.2, above: 0 }),
  /** What ends a step. Default `['\n\n']`. */
  stop: listOf(text({}), { default: ['\n\n'] }),
  /** Steps at most; the last one runs to the model's own end. Default 25. */
  maxSteps: integer({ default: 25, min: 1 }),
  /** What the scores of a text's steps become, where the verifier gives `stepScores`. Default `last`. */
  aggregation: oneOf(STEP_AGGREGATIONS, { default: 'last' }),
  /**
   * Which solution is returned: of the answer with the largest sum of scores its best (`weighted-vote`), or the one with the
   * highest score (`best`). Default `weighted-vote`.
   */
  selection: oneOf(['weighted-vote', 'best'], { default: 'weighted-vote' }),
});
/** Options of `rebase`. `n` is B, the width of the tree: the solutions that it ends with. */
export type RebaseOptions = Given<typeof rebaseOptions>;

/**
 * Widths W_j with Σ W_j = `width` that are the softmax of rewards, rounded: from the highest reward down
 *
 *   W_j = ⌈B' · e^{R_j / T_b} / Σ_{k ≥ j} e^{R_k / T_b}⌉,  B' ← B' − W_j
 *
 * as the authors' code rounds (equation 1 of arXiv 2408.00724 rounds each by itself, where the sum can be another number).
 *
 * @param rewards from high to low
 */
export function rebaseWidths(rewards: readonly number[], width: number, temperature: number): number[] {
  const weights = rewards.map((reward) => Math.exp((reward - rewards[0]!) / temperature));
  // From the smallest up: what remains after a subtraction would be rounding.
  const rest = [...weights];
  for (let j = rest.length - 2; j >= 0; j--) rest[j]! += rest[j + 1]!;
  let left = width;
  return weights.map((weight, j) => {
    // A share that is whole up to rounding is that number, and not one more.
    const share = left === 0 ? 0 : Math.min(left, Math.ceil((left * weight) / rest[j]! - 1e-9));
    left -= share;
    return share;
  });
}

/**
 * REBASE, reward-balanced search (arXiv 2408.00724 §3.2): a tree whose every node is expanded as often as its reward says.
 *
 * 1. draw B first steps and score them: R_j is the process verifier's prediction for the text so far;
 * 2. of the texts at depth i, C_i have ended: B_i = B_{i−1} − C_i;
 * 3. every open text j gets W_j = Round(B_i · e^{R_j / T_b} / Σ_k e^{R_k / T_b}) next steps (`rebaseWidths`), and go on at 2.
 *
 * So B texts end, if the budget allows it, and the solution is chosen among them by their scores (`selection`). Ties go to
 * the text drawn first; what is not scorable (`null`) or was not verified is neither continued nor returned. Throws
 * `NoCandidateError` when nothing has ended with a score (for a vote: and an answer), and `InvalidArgumentError` for a vote with
 * a negative score.
 */
export async function rebase(problem: Problem, options: RebaseOptions): Promise<SearchResult> {
  const { n, balanceTemperature, stop, maxSteps, aggregation, selection } = rebaseOptions.read(options);
  const search = new Search(rebaseOptions, problem, options);
  const scoreOf = (node: SearchNode) => stepScore(node, aggregation);
  const finished: SearchNode[] = [];
  let left = n;
  let growing: readonly { readonly node: SearchNode; readonly n: number }[] = [{ node: search.root, n }];
  for (let step = 1; step <= maxSteps && growing.length > 0; step++) {
    const ends = step === maxSteps ? [] : stop;
    const drawn = await Promise.all(growing.map((it) => search.expand(it.node, { n: it.n, stop: ends })));
    const candidates = drawn.flat();
    await search.verify(candidates);
    const ended = candidates.filter(({ state }) => state !== 'open');
    left -= ended.length;
    finished.push(...byScore(ended, scoreOf));
    const open = byScore(
      candidates.filter(({ state }) => state === 'open'),
      scoreOf,
    );
    const widths = rebaseWidths(
      open.map((node) => scoreOf(node)!),
      left,
      balanceTemperature,
    );
    growing = open.flatMap((node, i) => (widths[i]! > 0 ? [{ node, n: widths[i]! }] : []));
    open.forEach(({ node }, i) => {
      if (widths[i] === 0) node.reason = `no share of the width of ${left} after step ${step}`;
    });
  }
  const none = `none of ${finished.length} texts has ended with a score`;
  if (selection === 'best') {
    const best = bestOf(finished, scoreOf);
    if (!best) throw search.nothing(`${none}.`);
    return search.finish(best, { reason: 'lower score' });
  }
  const weights = new Map(finished.map((node) => [node, scoreOf(node)!]));
  const voters = withAnswer(finished);
  for (const node of voters) assertWeight(`verifier "${options.verifier.name}"`, weights.get(node)!);
  return finishVote(search, voters, {
    none: `${none} and an answer.`,
    weight: (node) => weights.get(node)!,
    best: (supporters) => bestOf(supporters, scoreOf)!,
  });
}
