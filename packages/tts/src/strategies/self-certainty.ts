import { type Given, number } from '@posttrain/interfaces';
import { mean } from '../numbers.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { statisticOf } from '../token-reports.js';
import { finishVote } from '../voting.js';

const selfCertaintyOptions = strategyOptions('self-certainty', {
  /** p of the Borda votes: 0 is the majority vote, and a large one the most certain completion. Default 0.3. */
  power: number({ default: 0.3, min: 0 }),
});
/** Options of `selfCertainty`. */
export type SelfCertaintyOptions = Given<typeof selfCertaintyOptions>;

/** (N − r + 1)^p votes for rank r = 1 … N. */
const bordaVotes = (rank: number, count: number, power: number): number => (count - rank + 1) ** power;

/**
 * Borda voting by self-certainty (arXiv 2502.18581 §4): the certainty of a completion of n tokens over a vocabulary of V is
 *
 *   −(1 / nV) Σ_i Σ_j log(V p(j | x, y_{<i}))  =  (1/n) Σ_i KL(uniform ‖ p_i)
 *
 * the completions with an answer are ranked by it, r = 1 the most certain, and each gives its answer v(r) = (N − r + 1)^p votes. Ties
 * in rank go to the completion drawn first, and so do ties between answers. Needs a generator with the statistic `selfCertainty`
 * (`@posttrain/lm`): top-k log-probabilities do not tell it. Throws `ContractError` for others, `NoCandidateError` when none votes.
 */
export async function selfCertainty(problem: Problem, options: SelfCertaintyOptions): Promise<SearchResult> {
  const { power } = selfCertaintyOptions.read(options);
  const search = new Search(selfCertaintyOptions, problem, options);
  const candidates = await search.draw({ statistics: ['selfCertainty'] });
  const certainty = new Map<SearchNode, number>();
  for (const node of candidates) {
    const values = statisticOf(selfCertaintyOptions.where, node, 'selfCertainty');
    certainty.set(node, values.length === 0 ? 0 : mean(values));
    node.payload = { selfCertainty: certainty.get(node) };
  }
  const ranked = candidates
    .filter(({ answer }) => answer !== null)
    .sort((a, b) => certainty.get(b)! - certainty.get(a)!);
  const votes = new Map(ranked.map((node, i) => [node, bordaVotes(i + 1, ranked.length, power)]));
  return finishVote(search, candidates, {
    none: `none of ${candidates.length} completions has an answer.`,
    weight: (node) => votes.get(node)!,
    best: (supporters) => supporters.reduce((a, b) => (certainty.get(b)! > certainty.get(a)! ? b : a)),
  });
}
