import { custom, type Given } from '@posttrain/interfaces';
import { ContractError } from '../errors.js';
import { argmax, mean } from '../numbers.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';

/** How good a text is where another is the reference: the higher, the better. */
export type TextUtility = (hypothesis: string, reference: string) => number;
export const textUtility = custom<TextUtility>();
export const UTILITY = 'a function of two texts, hypothesis and reference, that gives a number';

const minimumBayesRiskOptions = strategyOptions('minimum-bayes-risk', {
  /** u(hypothesis, reference): BLEU, ROUGE, the cosine of two embeddings, 1 for an equal answer. */
  utility: textUtility(UTILITY, (value) => typeof value === 'function', {}),
});
/** Options of `minimumBayesRisk`. */
export type MinimumBayesRiskOptions = Given<typeof minimumBayesRiskOptions>;

/**
 * (1/N) Σ_j u(y_i, y_j) of each y_i: its expected utility where the samples stand for the model's distribution.
 *
 * @throws ContractError for a utility that is no finite number
 */
export function expectedUtilities(texts: readonly string[], utility: TextUtility): number[] {
  return texts.map((hypothesis) =>
    mean(
      texts.map((reference) => {
        const value: unknown = utility(hypothesis, reference);
        if (typeof value === 'number' && Number.isFinite(value)) return value;
        throw new ContractError(`utility gave ${String(value)} for two texts; give a finite number.`);
      }),
    ),
  );
}

/**
 * Minimum Bayes risk decoding by sampling, the MBR form of best-of-N (Eikema and Aziz, arXiv 2005.10283, 2108.04718): draw
 * y_1 … y_N and return
 *
 *   argmax_i (1/N) Σ_j u(y_i, y_j)
 *
 * The samples are hypotheses and references both. Ties go to the completion drawn first. With u = 1 for equal answers it is the
 * majority vote. Throws `NoCandidateError` when the budget allows no completion.
 */
export async function minimumBayesRisk(problem: Problem, options: MinimumBayesRiskOptions): Promise<SearchResult> {
  const { utility } = minimumBayesRiskOptions.read(options);
  const search = new Search(minimumBayesRiskOptions, problem, options);
  const candidates = await search.draw();
  if (candidates.length === 0) throw search.nothing('there is no completion.');
  const utilities = expectedUtilities(
    candidates.map(({ text }) => text),
    utility,
  );
  candidates.forEach((candidate, i) => {
    candidate.payload = { utility: utilities[i] };
  });
  return search.finish(candidates[argmax(utilities)]!, { reason: 'lower expected utility' });
}
