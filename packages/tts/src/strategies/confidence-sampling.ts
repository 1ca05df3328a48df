import { type Given, number, oneOf } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { indexAt, softmax } from '../numbers.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { logProbsOf } from '../token-reports.js';

const confidenceSamplingOptions = strategyOptions('confidence-sampling', {
  /** What a completion's confidence is: log p of all its tokens (`sum`), or their mean (`mean`), which no length favours. Default `mean`. */
  confidence: oneOf(['sum', 'mean'], { default: 'mean' }),
  /** T: 0 takes the most confident, 1 draws in proportion to the probabilities, and a large one evenly. Default 0. */
  confidenceTemperature: number({ default: 0, min: 0 }),
});
/** Options of `confidenceSampling`. `sampling.seed` also decides the draw. */
export type ConfidenceSamplingOptions = Given<typeof confidenceSamplingOptions>;

/**
 * Confidence-based sampling (arXiv 2502.21321 §5.8): draw y_1 … y_N, and take y_i with probability
 *
 *   e^{c_i / T} / Σ_k e^{c_k / T},   c_i = log π(y_i | x), or its mean over the tokens
 *
 * T = 0 is best-of-N by the model's own probability, the first drawn of several. Tokens that were put there and not drawn do not count. Needs a
 * generator with log-probabilities. Throws `ContractError` for others, `NoCandidateError` when the budget allows no completion.
 */
export async function confidenceSampling(problem: Problem, options: ConfidenceSamplingOptions): Promise<SearchResult> {
  const { confidence, confidenceTemperature, sampling } = confidenceSamplingOptions.read(options);
  const { where } = confidenceSamplingOptions;
  const search = new Search(confidenceSamplingOptions, problem, options);
  const candidates = await search.draw({ logProbs: true });
  if (candidates.length === 0) throw search.nothing('there is no completion.');
  const confidences = candidates.map((node) => {
    const logProbs = logProbsOf(where, node);
    const sum = logProbs.reduce((total, it) => total + it, 0);
    return confidence === 'sum' ? sum : sum / Math.max(1, logProbs.length);
  });
  candidates.forEach((node, i) => {
    node.payload = { confidence: confidences[i] };
  });
  const uniform = createRandom(sampling?.seed ?? 0, where).float();
  const chosen = candidates[indexAt(softmax(confidences, confidenceTemperature), uniform)]!;
  return search.finish(chosen, { reason: 'not drawn' });
}
