import { type Given, integer } from '@posttrain/interfaces';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVote } from '../voting.js';

const earlyStoppingOptions = strategyOptions('early-stopping-self-consistency', {
  /** w, the completions that must agree. Default 5. */
  window: integer({ default: 5, min: 1 }),
});
/** Options of `earlyStoppingSelfConsistency`. `n` is L, the most that is drawn. */
export type EarlyStoppingSelfConsistencyOptions = Given<typeof earlyStoppingOptions>;

/**
 * Early-stopping self-consistency (ESC, arXiv 2401.10480): draw windows of w completions, one after another, and stop with the first whose
 * answers are all the same (entropy 0), or at L. The answer is the majority of all that was drawn, as in `majorityVote`.
 *
 * A window in which a completion has no answer does not agree. Throws `NoCandidateError` when none votes.
 */
export async function earlyStoppingSelfConsistency(
  problem: Problem,
  options: EarlyStoppingSelfConsistencyOptions,
): Promise<SearchResult> {
  const { n, window } = earlyStoppingOptions.read(options);
  const search = new Search(earlyStoppingOptions, problem, options);
  const candidates: SearchNode[] = [];
  while (candidates.length < n) {
    const wanted = Math.min(window, n - candidates.length);
    const drawn = await search.draw({ n: wanted });
    candidates.push(...drawn);
    const answers = new Set(drawn.map(({ answer }) => answer));
    const agree = drawn.length === window && answers.size === 1 && !answers.has(null);
    if (agree || drawn.length < wanted) break;
  }
  return finishVote(search, candidates, { none: `none of ${candidates.length} completions has an answer.` });
}
