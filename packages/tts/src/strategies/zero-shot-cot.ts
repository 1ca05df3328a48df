import { type Given, integer, text } from '@posttrain/interfaces';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVoteOrFirst } from '../voting.js';

/** Published sentences that begin a chain of thought; each is the option `trigger` of `zeroShotCot`. */
export const reasoningTriggers = {
  /** Zero-shot chain of thought (arXiv 2205.11916). */
  'zero-shot-cot': "Let's think step by step.",
  /** Found by a search over prompts (APE, arXiv 2211.01910). */
  ape: "Let's work this out in a step by step way to be sure we have the right answer.",
  /** Plan-and-solve (PS, arXiv 2305.04091). */
  'plan-and-solve':
    "Let's first understand the problem and devise a plan to solve the problem. Then, let's carry out the plan and solve the problem step by step.",
  /** Plan-and-solve with detailed instructions (PS+, arXiv 2305.04091). */
  'plan-and-solve-plus':
    "Let's first understand the problem, extract relevant variables and their corresponding numerals, and devise a plan. Then, let's carry out the plan, calculate intermediate variables (pay attention to correct numeral calculation and commonsense), solve the problem step by step, and show the answer.",
} as const;

const zeroShotCotOptions = strategyOptions('zero-shot-cot', {
  /** What a chain begins with: one of `reasoningTriggers`, or one of yours. Default that of zero-shot chain of thought. */
  trigger: text({ default: reasoningTriggers['zero-shot-cot'] }),
  /** What a chain is continued with for its answer. Default `\nTherefore, the answer is`. */
  answerTrigger: text({ default: '\nTherefore, the answer is' }),
  /** Most tokens of an answer. Default 32. */
  answerTokens: integer({ default: 32, min: 1 }),
});
/** Options of `zeroShotCot`. `n` is the number of chains. */
export type ZeroShotCotOptions = Given<typeof zeroShotCotOptions>;

/**
 * Zero-shot chain of thought (arXiv 2205.11916), in two stages: z ~ π(· | x, trigger) reasons, and a ~ π(· | x, trigger, z, answer trigger)
 * answers. With n > 1 chains the answer is their majority (self-consistency), and the text returned the first chain with it. The triggers of the
 * plan-and-solve prompts are presets (`reasoningTriggers`).
 *
 * A chain whose answer the budget does not allow answers with what it says itself. Throws `NoCandidateError` when there is no chain.
 */
export async function zeroShotCot(problem: Problem, options: ZeroShotCotOptions): Promise<SearchResult> {
  const { n, trigger, answerTrigger, answerTokens } = zeroShotCotOptions.read(options);
  const search = new Search(zeroShotCotOptions, problem, options);
  const begun = search.merge([search.root], { trigger }, `${search.root.text}${trigger}`);
  const chains = await search.expand(begun, { n });
  const answered = await Promise.all(
    chains.map(async (chain): Promise<SearchNode> => {
      const asked = search.merge([chain], { operation: 'answer' }, `${chain.text}${answerTrigger}`);
      const [answer] = await search.expand(asked, { n: 1, maxTokens: answerTokens });
      return answer ?? chain;
    }),
  );
  return finishVoteOrFirst(search, answered, 'there is no chain of thought.');
}
