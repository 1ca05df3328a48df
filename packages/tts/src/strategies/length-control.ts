import { type Given, integer, oneOf } from '@posttrain/interfaces';
import { mean } from '../numbers.js';
import { promptOption, questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVoteOrFirst } from '../voting.js';

const lengthControlOptions = strategyOptions('length-control', {
  /** n_gold, the tokens that the model is asked to think for. */
  targetTokens: integer({ min: 1 }),
  /** Exactly so many, or at most. Default `exact`. */
  mode: oneOf(['exact', 'max'], { default: 'exact' }),
  /** How it is asked. Default: the sentences that L1 models were trained with. */
  lengthPrompt: promptOption(
    'a question, the tokens, and the mode',
    (question: string, tokens: number, mode: 'exact' | 'max') =>
      `${question} Think for ${mode === 'max' ? 'maximum ' : ''}${tokens} tokens.`,
  ),
});
/** Options of `lengthControl`. `n` is the number of completions. */
export type LengthControlOptions = Given<typeof lengthControlOptions>;

/** Mean |n_y − n_gold| / n_gold over completions of n_y tokens; of `max`, only what is too long counts. */
export const lengthError = (tokens: readonly number[], target: number, mode: 'exact' | 'max' = 'exact'): number =>
  mean(tokens.map((it) => (mode === 'max' ? Math.max(0, it - target) : Math.abs(it - target)) / target));

/**
 * Length control by the prompt, as L1 models take it (LCPO, arXiv 2503.04697 §3): the target stands in the prompt, "Think for n tokens." (L1-Exact)
 * or "Think for maximum n tokens." (L1-Max), and the completion's relative length error |n_y − n| / n is in its payload. Of several completions the
 * majority is returned. Nothing is cut: `sampling.maxTokens` does that, and `budgetForcing` thinking alone. A model that was not trained for it may
 * not mind the sentence, which the error then shows. Throws `NoCandidateError` when the budget allows no completion.
 */
export async function lengthControl(problem: Problem, options: LengthControlOptions): Promise<SearchResult> {
  const { n, targetTokens, mode, lengthPrompt } = lengthControlOptions.read(options);
  const search = new Search(lengthControlOptions, problem, options);
  const prompt = withQuestion(problem.prompt, lengthPrompt(questionOf(problem.prompt), targetTokens, mode));
  const drawn = await search.expand(search.root, { n, prompt, prefix: search.root.text });
  for (const node of drawn) {
    node.payload = { lengthError: lengthError([node.node.completionTokens], targetTokens, mode) };
  }
  return finishVoteOrFirst(search, drawn, 'there is no completion.');
}
