import { type Given, integer } from '@posttrain/interfaces';
import { askFor, listedLines, parseOption, promptOption, questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVoteOrFirst } from '../voting.js';

/** A question and what was answered. */
export interface AnsweredQuestion {
  readonly question: string;
  readonly answer: string;
}
const shown = (answered: readonly AnsweredQuestion[]): string =>
  answered.map(({ question, answer }) => `Q: ${question}\nA: ${answer.trim()}\n\n`).join('');

const leastToMostOptions = strategyOptions('least-to-most', {
  /** What is asked for the subquestions. */
  decomposePrompt: promptOption(
    'a question',
    (question: string) =>
      `${question}\n\nTo solve this, which simpler questions must be answered first? List them, one a line, in the order in which they are to be answered.`,
  ),
  /** The subquestions in what was answered, the simplest first. Default: its lines. */
  parse: parseOption('the subquestions', listedLines as (text: string) => readonly string[]),
  /** How a subquestion is asked, after those that were answered; the problem's own question comes last. */
  solvePrompt: promptOption(
    'the problem, what was answered, and a subquestion',
    (question: string, answered: readonly AnsweredQuestion[], subquestion: string) =>
      `${question}\n\n${shown(answered)}Q: ${subquestion}\nA:`,
  ),
  /** Most subquestions. Default 8. */
  maxSubquestions: integer({ default: 8, min: 0 }),
});
/** Options of `leastToMost`. `n` is the number of answers to the last question, the problem's own. */
export type LeastToMostOptions = Given<typeof leastToMostOptions>;

/**
 * Least-to-most prompting (arXiv 2205.10625 §2): the model is asked for simpler questions q_1 … q_m first; then each is answered with those before it,
 *
 *   a_i ~ π(· | x, (q_1, a_1) … (q_{i−1}, a_{i−1}), q_i),    and at last q_{m+1} = x itself
 *
 * Of `n` last answers the majority is returned. A decomposition that the budget does not allow is none: the problem is then asked at once. Throws
 * `NoCandidateError` when there is no last answer.
 */
export async function leastToMost(problem: Problem, options: LeastToMostOptions): Promise<SearchResult> {
  const { n, decomposePrompt, parse, solvePrompt, maxSubquestions } = leastToMostOptions.read(options);
  const search = new Search(leastToMostOptions, problem, options);
  const question = questionOf(problem.prompt);
  const ask = (text: string) => withQuestion(problem.prompt, text);
  const plan =
    maxSubquestions === 0
      ? undefined
      : await askFor(search, search.root, ask(decomposePrompt(question)), 'a decomposition');
  const answered: AnsweredQuestion[] = [];
  let last: SearchNode = plan ?? search.root;
  for (const subquestion of plan ? parse(plan.text).slice(0, maxSubquestions) : []) {
    const answer = await askFor(search, last, ask(solvePrompt(question, answered, subquestion)), 'a subquestion');
    if (!answer) break;
    answered.push({ question: subquestion, answer: answer.text });
    last = answer;
  }
  const finals = await search.expand(last, { n, prompt: ask(solvePrompt(question, answered, question)) });
  return finishVoteOrFirst(search, finals, 'the problem itself was not answered.');
}
