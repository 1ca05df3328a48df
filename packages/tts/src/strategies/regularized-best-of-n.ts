import { assertArgument, type Given, number, oneOf } from '@posttrain/interfaces';
import { argmax } from '../numbers.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { logProbsOf } from '../token-reports.js';
import { expectedUtilities, textUtility, UTILITY } from './minimum-bayes-risk.js';

const regularizedBestOfNOptions = strategyOptions('regularized-best-of-n', {
  verifier: verifierOption,
  /** What keeps the choice near the generator: `kl`, its log-probability; `wasserstein`, likeness to the other samples. */
  regularizer: oneOf(['kl', 'wasserstein'], {}),
  /** β, how much it counts; 0 is best-of-N. */
  beta: number({ min: 0 }),
  /** Likeness of two texts, as 1 minus the cost of moving one to the other. Needed by `wasserstein`. */
  utility: textUtility(UTILITY, (value) => typeof value === 'function', { optional: true }),
});
/** Options of `regularizedBestOfN`. */
export type RegularizedBestOfNOptions = Given<typeof regularizedBestOfNOptions>;

/**
 * Regularized best-of-N (RBoN, arXiv 2404.01054): against rewards that are over-optimised, draw y_1 … y_N with scores r_i and return
 *
 *   kl:           argmax_i r_i − β KL(δ_{y_i} ‖ π) = argmax_i r_i + β log π(y_i)
 *   wasserstein:  argmax_i r_i − β W_1(δ_{y_i}, π̂) = argmax_i r_i + β (1/N) Σ_j u(y_i, y_j),  with the cost 1 − u
 *
 * The log-probability is the sum over the tokens that were drawn, in nats; π̂ is the samples themselves. Ties go to the completion drawn
 * first; what is not scorable (`null`) or was not verified is not returned, but stands in π̂. Throws `NoCandidateError` when none
 * has a score, `OptionError` for `wasserstein` without `utility`, `ContractError` for `kl` and a generator without log-probabilities.
 */
export async function regularizedBestOfN(problem: Problem, options: RegularizedBestOfNOptions): Promise<SearchResult> {
  const { where, shape } = regularizedBestOfNOptions;
  const { regularizer, beta, utility } = regularizedBestOfNOptions.read(options);
  assertArgument(where, 'utility', utility, regularizer === 'kl' || utility !== undefined, shape.utility.expects);
  const search = new Search(regularizedBestOfNOptions, problem, options);
  const candidates = await search.draw({ logProbs: regularizer === 'kl' });
  const nearness =
    regularizer === 'kl'
      ? candidates.map((node) => logProbsOf(where, node).reduce((sum, it) => sum + it, 0))
      : expectedUtilities(
          candidates.map(({ text }) => text),
          utility!,
        );
  const objective = candidates.map(({ score }, i) =>
    typeof score === 'number' ? score + beta * nearness[i]! : Number.NEGATIVE_INFINITY,
  );
  candidates.forEach((candidate, i) => {
    candidate.payload = { regularizer: nearness[i] };
  });
  const best = candidates[argmax(objective)];
  if (typeof best?.score !== 'number') throw search.nothing(`none of ${candidates.length} completions has a score.`);
  return search.finish(best, { reason: 'lower regularized score' });
}
