import { type Given, integer, listOf, text } from '@posttrain/interfaces';
import { numbered, promptOption, questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVoteOrFirst } from '../voting.js';

const debateOptions = strategyOptions('debate', {
  /** R, how often the agents read each other and answer anew. Default 2. */
  rounds: integer({ default: 2, min: 0 }),
  /** Who the agents are: roles of `generators`, in turn. Default: all are the generator. */
  agents: listOf(text({}), { default: [] }),
  /** What an agent is asked with its own answer and those of the others. */
  debatePrompt: promptOption(
    'a question, the own answer, and those of others',
    (question: string, own: string, others: readonly string[]) =>
      `${question}\n\nYour answer:\n${own}\n\n${numbered('Agent', others)}\n\nThese are the answers of other agents. Use what is right in them, and answer anew.`,
  ),
});
/** Options of `debate`. `n` is A, the number of agents. */
export type DebateOptions = Given<typeof debateOptions>;

/**
 * Multi-agent debate (arXiv 2305.14325): A agents answer by themselves, and in each of R rounds every one answers anew with its own answer and all
 * the others' before it:
 *
 *   y_{a,0} ~ π_a(· | x),   y_{a,r} ~ π_a(· | x, y_{a,r−1}, {y_{b,r−1}}_{b ≠ a})
 *
 * The answer is the majority of the last round, so R = 0 is the majority vote; A (R + 1) completions, which is the budget to compare it at. An agent that the
 * budget does not let answer stays with what it said. Throws `NoCandidateError` when nobody answers.
 */
export async function debate(problem: Problem, options: DebateOptions): Promise<SearchResult> {
  const { n, rounds, agents, debatePrompt } = debateOptions.read(options);
  const search = new Search(debateOptions, problem, options);
  const question = questionOf(problem.prompt);
  const roleOf = (agent: number) => (agents.length === 0 ? {} : { role: agents[agent % agents.length]! });
  const begun = await Promise.all(
    Array.from({ length: n }, async (_, agent) => {
      const [node] = await search.expand(search.root, { n: 1, ...roleOf(agent) });
      return node ? [{ agent, node }] : [];
    }),
  );
  let said = begun.flat();
  for (let round = 1; round <= rounds && search.exhausted === null; round++) {
    said = await Promise.all(
      said.map(async (own) => {
        const others = said.filter((it) => it !== own);
        const texts = others.map(({ node }) => node.text);
        const prompt = withQuestion(problem.prompt, debatePrompt(question, own.node.text, texts));
        const heard = search.merge([own.node, ...others.map(({ node }): SearchNode => node)], {
          round,
          agent: own.agent,
        });
        const [node] = await search.expand(heard, { n: 1, prompt, ...roleOf(own.agent) });
        return node ? { agent: own.agent, node } : own;
      }),
    );
  }
  return finishVoteOrFirst(
    search,
    said.map(({ node }) => node),
    'no agent has answered.',
  );
}
