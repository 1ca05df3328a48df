import type { Given } from '@posttrain/interfaces';
import { choose, judgeRole } from '../choosing.js';
import { lastNumber, numbered, parseOption, promptOption, questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVote } from '../voting.js';

const universalOptions = strategyOptions('universal-self-consistency', {
  /** What is asked about the responses. */
  selectPrompt: promptOption(
    'a question and its responses',
    (question: string, responses: readonly string[]) =>
      `${question}\n\n${numbered('Response', responses)}\n\nMost of these responses agree with each other in what they say. Which one agrees most with the others? Name it by its number.`,
  ),
  /** Which response was named, from 0; `null`: none. Default: the last number in the text. */
  parse: parseOption('which response is named', lastNumber),
});
/** Options of `universalSelfConsistency`. `n` is the number of responses. */
export type UniversalSelfConsistencyOptions = Given<typeof universalOptions>;

/**
 * Universal self-consistency (arXiv 2311.17311): the vote for answers that cannot be counted (summaries, code, open questions). Draw y_1 … y_N,
 * show all to the model, and return the one that it names as most consistent with the rest; `generators.judge` is asked where there is one.
 *
 * Where no response is named, or the budget does not allow the question, it is the majority vote over the answers, or the
 * first response when none has one. Throws `NoCandidateError` when the budget allows no completion.
 */
export async function universalSelfConsistency(
  problem: Problem,
  options: UniversalSelfConsistencyOptions,
): Promise<SearchResult> {
  const { selectPrompt, parse, ...settings } = universalOptions.read(options);
  const search = new Search(universalOptions, problem, options);
  const candidates = await search.draw();
  if (candidates.length === 0) throw search.nothing('there is no completion.');
  const texts = candidates.map(({ text }) => text);
  const prompt = withQuestion(problem.prompt, selectPrompt(questionOf(problem.prompt), texts));
  const chosen = await choose(search, candidates, prompt, parse, judgeRole(settings));
  if (chosen !== null) return search.finish(candidates[chosen]!, { reason: 'not selected' });
  if (candidates.some(({ answer }) => answer !== null)) return finishVote(search, candidates, { none: '' });
  return search.finish(candidates[0]!, { reason: 'not selected' });
}
