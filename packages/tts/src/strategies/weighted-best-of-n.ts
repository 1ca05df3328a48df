import type { Given } from '@posttrain/interfaces';
import { InvalidArgumentError } from '../errors.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVote, withAnswer } from '../voting.js';

const weightedBestOfNOptions = strategyOptions('weighted-best-of-n', { verifier: verifierOption });
/** Options of `weightedBestOfN`. */
export type WeightedBestOfNOptions = Given<typeof weightedBestOfNOptions>;

/**
 * Weighted best-of-N, weighted majority vote (arXiv 2206.02336, 2408.03314): draw y_1 … y_N with normalised answers a_i
 * and scores r_i ≥ 0 and return
 *
 *   argmax_a Σ_{i: a_i = a} r_i
 *
 * Ties go to the answer that appeared first. The text returned is the highest scored completion with the winning
 * answer. A completion that is not scorable (`null`), was not verified or has no answer does not vote. Throws
 * `NoCandidateError` when none votes and `InvalidArgumentError` on a negative score, with which more votes would count
 * for less: map scores to positive numbers (a sigmoid of the logit, an exponential) in the verifier.
 */
export async function weightedBestOfN(problem: Problem, options: WeightedBestOfNOptions): Promise<SearchResult> {
  const search = new Search(weightedBestOfNOptions, problem, options);
  const candidates = await search.draw();
  const voters = withAnswer(candidates).filter(({ node }) => typeof node.score === 'number');
  for (const { node } of voters) assertWeight(`verifier "${options.verifier.name}"`, node.score!);
  return finishVote(search, voters, {
    none: `none of ${candidates.length} completions has both an answer and a score.`,
    weight: ({ score }) => score!,
    best: (supporters) => supporters.reduce((a, b) => (b.score! > a.score! ? b : a)),
  });
}

/** Throws when `score` cannot be the weight of a vote. */
export function assertWeight(where: string, score: number): void {
  if (score >= 0) return;
  throw new InvalidArgumentError(
    `${where}: the score ${score} cannot weigh a vote. Weights must not be negative, or more votes would count for ` +
      'less; map scores to positive numbers first, for instance with a sigmoid.',
  );
}
