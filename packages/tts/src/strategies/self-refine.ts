import { type Given, integer } from '@posttrain/interfaces';
import { askFor, parseOption, promptOption, questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVoteOrFirst } from '../voting.js';

/** A draft and what was said of it. */
export interface CritiquedDraft {
  readonly draft: string;
  readonly feedback: string;
}

const selfRefineOptions = strategyOptions('self-refine', {
  /** What is asked about a draft; `generators.critic` answers where there is one. */
  feedbackPrompt: promptOption(
    'a question and a draft',
    (question: string, draft: string) =>
      `${question}\n\nAn answer:\n${draft}\n\nWhat is wrong with it, and what exactly would make it better? If nothing is, write only DONE.`,
  ),
  /** Whether feedback says that nothing is left to do. Default: it has the word DONE. */
  isDone: parseOption('whether feedback wants nothing more', (feedback: string): boolean => /\bDONE\b/.test(feedback)),
  /** What is asked for the next draft, after all drafts so far with their feedback. */
  refinePrompt: promptOption(
    'a question and its drafts with their feedback',
    (question: string, history: readonly CritiquedDraft[]) =>
      `${question}\n\n${history.map(({ draft, feedback }) => `An answer:\n${draft}\n\nFeedback:\n${feedback}`).join('\n\n')}\n\nWrite the answer anew, with the last feedback in it.`,
  ),
  /** Most refinements. Default 4. */
  maxIterations: integer({ default: 4, min: 0 }),
});
/** Options of `selfRefine`. `n` is the number of first drafts, each refined by itself. */
export type SelfRefineOptions = Given<typeof selfRefineOptions>;

/**
 * Self-Refine (arXiv 2303.17651, algorithm 1): y_0 ~ π(· | x), and for t = 0 …
 *
 *   f_t ~ π(· | x, y_t) feedback;   stop if it wants nothing more;   y_{t+1} ~ π(· | x, y_0, f_0 … y_t, f_t)
 *
 * It also stops when a draft is the same as the one before (a fixed point), and after `maxIterations`. Of `n` drafts the majority is returned, or the
 * first where none has an answer that can be counted. Without an outside check the model's own feedback need not make it better (arXiv
 * 2310.01798). Throws `NoCandidateError` when the budget allows no draft.
 */
export async function selfRefine(problem: Problem, options: SelfRefineOptions): Promise<SearchResult> {
  const { n, feedbackPrompt, isDone, refinePrompt, maxIterations, generators } = selfRefineOptions.read(options);
  const search = new Search(selfRefineOptions, problem, options);
  const question = questionOf(problem.prompt);
  const ask = (text: string) => withQuestion(problem.prompt, text);
  const critic = generators?.critic && 'critic';
  const refined = async (first: SearchNode): Promise<SearchNode> => {
    const history: CritiquedDraft[] = [];
    let draft = first;
    while (history.length < maxIterations) {
      const feedback = await askFor(search, draft, ask(feedbackPrompt(question, draft.text)), 'feedback', critic);
      if (!feedback || isDone(feedback.text)) break;
      history.push({ draft: draft.text, feedback: feedback.text });
      const [next] = await search.expand(feedback, { n: 1, prompt: ask(refinePrompt(question, history)) });
      if (!next) break;
      const isFixed = next.text === draft.text;
      draft = next;
      if (isFixed) break;
    }
    return draft;
  };
  const drafts = await Promise.all((await search.expand(search.root, { n })).map(refined));
  return finishVoteOrFirst(search, drafts, 'there is no draft.');
}
