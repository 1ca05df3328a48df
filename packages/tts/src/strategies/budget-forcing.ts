import { type Given, integer, text } from '@posttrain/interfaces';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVoteOrFirst } from '../voting.js';

const budgetForcingOptions = strategyOptions('budget-forcing', {
  /** Most tokens of thinking, over all its parts. */
  maxThinkingTokens: integer({ min: 1 }),
  /** How often the end of thinking is replaced by `wait`. Default 1. */
  ignoreEnds: integer({ default: 1, min: 0 }),
  /** What stands in its place. Default `Wait`. */
  wait: text({ default: 'Wait' }),
  /** What ends thinking. Default `</think>`. */
  thinkingEnd: text({ default: '</think>' }),
  /** What follows it, before the answer. Default `\nFinal Answer:`. */
  answerPrefix: text({ default: '\nFinal Answer:' }),
  /** Most tokens of the answer. Default: `sampling.maxTokens`. */
  answerTokens: integer({ optional: true, min: 1 }),
});
/** Options of `budgetForcing`. `n` is the number of chains. */
export type BudgetForcingOptions = Given<typeof budgetForcingOptions>;

/**
 * Budget forcing of s1 (arXiv 2501.19393 §3.1), over any generator that continues a prefix: thinking is cut at `maxThinkingTokens`, and where the model
 * ends it sooner, its end is replaced by "Wait" up to `ignoreEnds` times; then thinking is closed and the answer asked for. So with ends at tokens
 * e_1 < e_2 … of thinking, it goes on to min(e_{ignoreEnds + 1}, max). `@posttrain/lm` has the same inside generation, in tokens (`budgetForcing`).
 *
 * With n > 1 chains the answer is their majority. Needs a generator that says which stop string ended a completion. A chain that the budget does not
 * let answer is left out. Throws `NoCandidateError` when none answers.
 */
export async function budgetForcing(problem: Problem, options: BudgetForcingOptions): Promise<SearchResult> {
  const settings = budgetForcingOptions.read(options);
  const { n, maxThinkingTokens, ignoreEnds, wait, thinkingEnd, answerPrefix, answerTokens } = settings;
  const search = new Search(budgetForcingOptions, problem, options);
  const thought = ({ text, state }: SearchNode): string =>
    state === 'open' ? text.slice(0, -thinkingEnd.length) : text;
  const answer = async (first: SearchNode): Promise<SearchNode[]> => {
    let last = first;
    let tokens = first.node.completionTokens;
    for (let ignored = 0; ignored < ignoreEnds && last.state !== 'cut' && tokens < maxThinkingTokens; ignored++) {
      const waiting = search.merge([last], { operation: 'wait' }, `${thought(last)}${wait}`);
      const [more] = await search.expand(waiting, { n: 1, stop: [thinkingEnd], maxTokens: maxThinkingTokens - tokens });
      if (!more) return [];
      tokens += more.node.completionTokens;
      last = more;
    }
    const closed = search.merge([last], { thinkingTokens: tokens }, `${thought(last)}${thinkingEnd}${answerPrefix}`);
    return search.expand(closed, { n: 1, ...(answerTokens !== undefined && { maxTokens: answerTokens }) });
  };
  const begun = await search.expand(search.root, { n, stop: [thinkingEnd], maxTokens: maxThinkingTokens });
  const answers = await Promise.all(begun.map(answer));
  return finishVoteOrFirst(search, answers.flat(), 'no chain has answered.');
}
