import type { Given } from '@posttrain/interfaces';
import { Search } from '../search.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVote } from '../voting.js';

const majorityVoteOptions = strategyOptions('majority-vote', {});
/** Options of `majorityVote`. */
export type MajorityVoteOptions = Given<typeof majorityVoteOptions>;

/**
 * Self-consistency, majority vote (arXiv 2203.11171): draw y_1 … y_N, take the normalised answer a_i of each and return
 *
 *   argmax_a Σ_i 1[a_i = a]
 *
 * Ties go to the answer that appeared first. The text returned is the first completion with the winning answer. A
 * completion without an answer (`null`) does not vote. Throws `NoCandidateError` when none votes.
 */
export async function majorityVote(problem: Problem, options: MajorityVoteOptions): Promise<SearchResult> {
  const search = new Search(majorityVoteOptions, problem, options);
  const candidates = await search.draw();
  return finishVote(search, candidates, { none: `none of ${candidates.length} completions has an answer.` });
}
