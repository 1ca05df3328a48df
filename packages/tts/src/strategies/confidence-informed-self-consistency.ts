import { type Given, number } from '@posttrain/interfaces';
import { softmax } from '../numbers.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVote, withAnswer } from '../voting.js';

const ciscOptions = strategyOptions('confidence-informed-self-consistency', {
  /** Gives each completion its confidence: P(True) of the model itself, what it says of itself, or a judge's score. */
  verifier: verifierOption,
  /** T: a large one is the majority vote, 0 the most confident completion. Default 1. */
  confidenceTemperature: number({ default: 1, min: 0 }),
});
/** Options of `confidenceInformedSelfConsistency`. */
export type ConfidenceInformedSelfConsistencyOptions = Given<typeof ciscOptions>;

/**
 * Confidence-informed self-consistency (CISC, arXiv 2502.06233): draw y_1 … y_N with answers a_i and confidences c_i and return
 *
 *   argmax_a Σ_{i: a_i = a} e^{c_i / T} / Σ_k e^{c_k / T}
 *
 * where the softmax is within the question, so that only how sure a completion is beside the others counts. Confidences may be negative
 * (log-probabilities). What is not scorable (`null`), was not verified or has no answer does not vote. Ties go to the answer that appeared first,
 * whose text is its most confident. Throws `NoCandidateError` when none votes.
 */
export async function confidenceInformedSelfConsistency(
  problem: Problem,
  options: ConfidenceInformedSelfConsistencyOptions,
): Promise<SearchResult> {
  const { confidenceTemperature } = ciscOptions.read(options);
  const search = new Search(ciscOptions, problem, options);
  const candidates = await search.draw();
  const voters = withAnswer(candidates).filter(({ score }) => typeof score === 'number');
  const weights = softmax(
    voters.map(({ score }) => score!),
    confidenceTemperature,
  );
  return finishVote(search, voters, {
    none: `none of ${candidates.length} completions has both an answer and a score.`,
    weight: (node) => weights[voters.indexOf(node)]!,
    best: (supporters) => supporters.reduce((a, b) => (b.score! > a.score! ? b : a)),
  });
}
