import type { Given } from '@posttrain/interfaces';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishWith, selectionOption } from '../solution.js';
import { bestOf, stepScore } from '../step-score.js';
import { assertMultiple, beamShape, nextSteps } from '../steps.js';

const diverseOptions = strategyOptions('diverse-verifier-tree-search', {
  verifier: verifierOption,
  ...beamShape,
  /** Which of the last texts of all subtrees is returned. Default `best`. */
  selection: selectionOption('best'),
});
/** Options of `diverseVerifierTreeSearch`. `n` is N, the candidates of each step: a multiple of `beamWidth`. */
export type DiverseVerifierTreeSearchOptions = Given<typeof diverseOptions>;

/**
 * Diverse verifier tree search (DVTS; Beeching, Tunstall and Rush 2024, on beam search of arXiv 2408.03314): N/M subtrees that do
 * not compete, each greedy over M scored continuations of its own:
 *
 *   x_i ← argmax over M draws y from p(· | x_i) of score(x_i y),   i = 1 … N/M
 *
 * so that a subtree which scores low at first is not given up for more of the one that scores high, as a beam is. A subtree ends when
 * its best continuation is the model's own end, at `maxSteps`, or with the budget; its last continuations that have ended are the
 * solutions. N = M is one greedy subtree, M = 1 is N samples. Ties go to the candidate drawn first; what is not scorable (`null`)
 * or was not verified is neither kept nor returned. Throws `NoCandidateError` when nothing has ended with a score.
 */
export async function diverseVerifierTreeSearch(
  problem: Problem,
  options: DiverseVerifierTreeSearchOptions,
): Promise<SearchResult> {
  const { n, beamWidth, stop, maxSteps, aggregation, lookahead, selection, verifier } = diverseOptions.read(options);
  const search = new Search(diverseOptions, problem, options);
  assertMultiple(diverseOptions.where, n, 'beamWidth', beamWidth);
  const scoreOf = (node: SearchNode) => stepScore(node, aggregation);
  const finished: SearchNode[] = [];
  let tips = new Array<SearchNode>(n / beamWidth).fill(search.root);
  for (let step = 1; step <= maxSteps && tips.length > 0; step++) {
    const level = { stop: step === maxSteps ? [] : stop, aggregation, lookahead };
    const drawn = await nextSteps(
      search,
      tips.map((node) => ({ node, n: beamWidth })),
      level,
    );
    const next: SearchNode[] = [];
    for (const candidates of drawn) {
      const best = bestOf(candidates, scoreOf);
      if (best?.state === 'open') next.push(best);
      else finished.push(...candidates.filter(({ state }) => state !== 'open'));
      for (const it of candidates) {
        if (it !== best) it.node.reason ??= `not the best of its subtree at step ${step}`;
      }
    }
    tips = next;
  }
  return finishWith(search, finished, scoreOf, { selection, verifier });
}
