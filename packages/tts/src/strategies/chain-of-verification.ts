import { type Given, integer } from '@posttrain/interfaces';
import { askFor, listedLines, parseOption, promptOption, questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVoteOrFirst } from '../voting.js';
import type { AnsweredQuestion } from './least-to-most.js';

const chainOfVerificationOptions = strategyOptions('chain-of-verification', {
  /** What is asked for questions that check a response. */
  planPrompt: promptOption(
    'a question and a response',
    (question: string, response: string) =>
      `Question: ${question}\n\nResponse: ${response}\n\nWrite questions, one a line, whose answers would show whether the facts in this response are right. Each must be understood without the response.`,
  ),
  /** The questions in what was answered. Default: its lines. */
  parse: parseOption('the verification questions', listedLines as (text: string) => readonly string[]),
  /** How one of them is asked: without the response, so that its mistakes are not repeated. */
  verifyPrompt: promptOption('a verification question', (question: string) => question),
  /** What is asked for the final response. */
  revisePrompt: promptOption(
    'a question, a response, and what was found',
    (question: string, response: string, found: readonly AnsweredQuestion[]) =>
      `Question: ${question}\n\nA first response: ${response}\n\nWhat was checked:\n${found.map((it) => `Q: ${it.question}\nA: ${it.answer.trim()}`).join('\n')}\n\nWrite the final response: keep what was confirmed, and correct or leave out the rest.`,
  ),
  /** Most questions. Default 8. */
  maxQuestions: integer({ default: 8, min: 1 }),
});
/** Options of `chainOfVerification`. `n` is the number of first responses, each verified by itself. */
export type ChainOfVerificationOptions = Given<typeof chainOfVerificationOptions>;

/**
 * Chain-of-Verification (CoVe, arXiv 2309.11495 §3), its factored variant:
 *
 * 1. a first response y ~ π(· | x);  2. questions q_1 … q_m that check it;  3. answers a_i ~ π(· | q_i), each without y;
 * 4. the final response y' ~ π(· | x, y, (q_1, a_1) …).
 *
 * A response for which no question was asked, or that the budget did not let be revised, stands as it is. Of `n` the majority is returned, or the
 * first where none has an answer that can be counted. Throws `NoCandidateError` when the budget allows no response.
 */
export async function chainOfVerification(
  problem: Problem,
  options: ChainOfVerificationOptions,
): Promise<SearchResult> {
  const settings = chainOfVerificationOptions.read(options);
  const { n, planPrompt, parse, verifyPrompt, revisePrompt, maxQuestions } = settings;
  const search = new Search(chainOfVerificationOptions, problem, options);
  const question = questionOf(problem.prompt);
  const ask = (text: string) => withQuestion(problem.prompt, text);
  const verified = async (first: SearchNode): Promise<SearchNode> => {
    const plan = await askFor(search, first, ask(planPrompt(question, first.text)), 'a plan of verification');
    const questions = plan ? parse(plan.text).slice(0, maxQuestions) : [];
    const answers = await Promise.all(
      questions.map((it) => askFor(search, plan!, ask(verifyPrompt(it)), 'a verification')),
    );
    const found = answers.flatMap((it, i) => (it ? [{ question: questions[i]!, answer: it.text }] : []));
    if (found.length === 0) return first;
    const seen = search.merge([first, ...answers.filter((it) => it !== undefined)], { operation: 'revise' });
    const [revised] = await search.expand(seen, { n: 1, prompt: ask(revisePrompt(question, first.text, found)) });
    return revised ?? first;
  };
  const responses = await Promise.all((await search.expand(search.root, { n })).map(verified));
  return finishVoteOrFirst(search, responses, 'there is no response.');
}
