import { type Given, number } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { indexAt, softmax } from '../numbers.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';

const softBestOfNOptions = strategyOptions('soft-best-of-n', {
  verifier: verifierOption,
  /** λ, how far the choice is from the highest score: 0 is best-of-N, and a large one the generator itself. Default 0.1. */
  lambda: number({ default: 0.1, min: 0 }),
});
/** Options of `softBestOfN`. `sampling.seed` also decides the draw. */
export type SoftBestOfNOptions = Given<typeof softBestOfNOptions>;

/**
 * Soft best-of-N (arXiv 2505.03156): draw y_1 … y_N with scores r_i, and return y_i with probability
 *
 *   e^{r_i / λ} / Σ_k e^{r_k / λ}
 *
 * which tends to the tilted law π(y) e^{r(y)/λ} / Z as N grows. λ → 0 is best-of-N (ties go to the completion drawn first), λ → ∞
 * one sample of the generator. What is not scorable (`null`) or was not verified is never returned. Throws `NoCandidateError`
 * when none has a score.
 */
export async function softBestOfN(problem: Problem, options: SoftBestOfNOptions): Promise<SearchResult> {
  const { lambda, sampling } = softBestOfNOptions.read(options);
  const search = new Search(softBestOfNOptions, problem, options);
  const candidates = await search.draw();
  const scored = candidates.filter(({ score }) => typeof score === 'number');
  if (scored.length === 0) throw search.nothing(`none of ${candidates.length} completions has a score.`);
  const probabilities = softmax(
    scored.map(({ score }) => score!),
    lambda,
  );
  const uniform = createRandom(sampling?.seed ?? 0, softBestOfNOptions.where).float();
  return search.finish(scored[indexAt(probabilities, uniform)]!, { reason: 'not drawn' });
}
