import { type Given, integer, number, oneOf } from '@posttrain/interfaces';
import { binomial } from '@posttrain/interfaces/estimators';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { countVotes, finishVote } from '../voting.js';

const adaptiveConsistencyOptions = strategyOptions('adaptive-consistency', {
  /**
   * What is compared with `threshold`: `beta`, the probability that the first answer is likelier than the second; `majority`, the
   * share of the first answer among the answers so far. Default `beta`.
   */
  stoppingRule: oneOf(['beta', 'majority'], { default: 'beta' }),
  /** Drawing ends when it is reached. Default 0.95. */
  threshold: number({ default: 0.95, min: 0, max: 1 }),
  /** Completions before the rule is asked for the first time. Default 1. */
  first: integer({ default: 1, min: 1 }),
  /** How many are drawn after that: one at a time (`one`), or as many as there are (`double`). Default `one`. */
  growth: oneOf(['one', 'double'], { default: 'one' }),
});
/** Options of `adaptiveConsistency`. `n` is the most that is drawn. */
export type AdaptiveConsistencyOptions = Given<typeof adaptiveConsistencyOptions>;

/**
 * P(p_1 > p_2 | v_1, v_2) for two answers under a uniform prior, exactly:
 *
 *   1 − I_{1/2}(v_1 + 1, v_2 + 1) = 1 − 2^{−(v_1 + v_2 + 1)} Σ_{k ≤ v_2} C(v_1 + v_2 + 1, k)
 */
export function betaConfidence(first: number, second: number): number {
  const n = first + second + 1;
  let below = 0;
  for (let k = 0; k <= second; k++) below += binomial(n, k);
  return 1 - below / 2 ** n;
}

/**
 * Adaptive-Consistency (arXiv 2305.11860): self-consistency that draws until its majority is clear. After each draw, with v_1 ≥ v_2 the
 * counts of the two most frequent answers, it stops when
 *
 *   beta:      P(p_1 > p_2 | v_1, v_2) ≥ threshold      (`betaConfidence`)
 *   majority:  v_1 / (answers so far) ≥ threshold
 *
 * and returns the majority of what was drawn, as `majorityVote` does; `n` completions at most. `majority` at 0.75 from 2, doubling, is
 * what its_hub calls adaptive self-consistency. Completions without an answer do not vote. Throws `NoCandidateError`
 * when none votes.
 */
export async function adaptiveConsistency(
  problem: Problem,
  options: AdaptiveConsistencyOptions,
): Promise<SearchResult> {
  const { n, stoppingRule, threshold, first, growth } = adaptiveConsistencyOptions.read(options);
  const search = new Search(adaptiveConsistencyOptions, problem, options);
  const candidates: SearchNode[] = [];
  const isClear = (): boolean => {
    const voters = candidates.filter(({ answer }) => answer !== null);
    const [v1 = 0, v2 = 0] = countVotes(voters, () => 1).map(({ vote }) => vote.count);
    const clarity = stoppingRule === 'beta' ? betaConfidence(v1, v2) : v1 / Math.max(1, voters.length);
    return v1 > 0 && clarity >= threshold;
  };
  while (candidates.length < n && !(candidates.length >= first && isClear())) {
    const more = candidates.length === 0 ? first : growth === 'one' ? 1 : candidates.length;
    const wanted = Math.min(more, n - candidates.length);
    const drawn = await search.draw({ n: wanted });
    candidates.push(...drawn);
    if (drawn.length < wanted) break;
  }
  return finishVote(search, candidates, { none: `none of ${candidates.length} completions has an answer.` });
}
