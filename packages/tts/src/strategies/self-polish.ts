import { type Given, integer } from '@posttrain/interfaces';
import { askFor, promptOption, questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { countVotes, finishVoteOrFirst } from '../voting.js';

const selfPolishOptions = strategyOptions('self-polish', {
  /** What is asked for a better problem. */
  polishPrompt: promptOption(
    'a problem',
    (problem: string) =>
      `Rewrite the problem so that it is easier to understand and to solve: leave out what does not matter, put conditions that belong together side by side, and do not change its answer. Write only the new problem.\n\n${problem}`,
  ),
  /** Most rewritings. Default 3. */
  maxIterations: integer({ default: 3, min: 1 }),
});
/** Options of `selfPolish`. `n` is the answers of each version of the problem, whose majority is its answer. */
export type SelfPolishOptions = Given<typeof selfPolishOptions>;

/**
 * Self-Polish (arXiv 2305.14497 §3): not the answer is refined but the problem. x_0 = x, and for t = 1 …
 *
 *   x_t ~ π(· | polish, x_{t−1}),   a_t = majority of n answers to x_t;   stop when a_t = a_{t−1}, or at `maxIterations`
 *
 * and the last answer is returned (the authors' code returns by default the first, x's own, where no two agree). A version without an answer agrees with none. What the budget ends returns the last version that was
 * answered. Throws `NoCandidateError` when none was.
 */
export async function selfPolish(problem: Problem, options: SelfPolishOptions): Promise<SearchResult> {
  const { n, polishPrompt, maxIterations } = selfPolishOptions.read(options);
  const search = new Search(selfPolishOptions, problem, options);
  const majority = (nodes: readonly SearchNode[]): string | undefined =>
    countVotes(
      nodes.filter(({ answer }) => answer !== null),
      () => 1,
    )[0]?.vote.answer;
  let question = questionOf(problem.prompt);
  let from: SearchNode = search.root;
  let answers = await search.expand(search.root, { n });
  for (let t = 1; t <= maxIterations && answers.length === n; t++) {
    const polished = await askFor(
      search,
      from,
      withQuestion(problem.prompt, polishPrompt(question)),
      'a polished problem',
    );
    if (!polished) break;
    [question, from] = [polished.text.trim(), polished];
    const next = await search.expand(polished, { n, prompt: withQuestion(problem.prompt, question) });
    if (next.length === 0) break;
    const [before, now] = [majority(answers), majority(next)];
    for (const { node } of answers) node.reason = `answers version ${t - 1} of the problem`;
    answers = next;
    if (now !== undefined && now === before) break;
  }
  return finishVoteOrFirst(search, answers, 'no version of the problem was answered.');
}
