import { custom, type Given } from '@posttrain/interfaces';
import { questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVoteOrFirst } from '../voting.js';

/** A question that was reasoned about, to be shown before another. */
export interface Demonstration {
  readonly question: string;
  /** The chain of thought; what it ends with should say the answer as yours is to be said. */
  readonly reasoning: string;
  readonly answer: string;
}

const isDemonstration = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (['question', 'reasoning', 'answer'] as const).every((key) => typeof (value as Demonstration)[key] === 'string');

const chainOfThoughtOptions = strategyOptions('chain-of-thought', {
  /** Shown before the question, in this order. */
  demonstrations: custom<readonly Demonstration[]>()(
    'a list of { question, reasoning, answer }',
    (value) => Array.isArray(value) && value.every(isDemonstration),
    {},
  ),
});
/** Options of `chainOfThought`. `n` is the number of chains. */
export type ChainOfThoughtOptions = Given<typeof chainOfThoughtOptions>;

/** Questions with their chains of thought, and the question that one is wanted for. */
export const demonstrationPrompt = (demonstrations: readonly Demonstration[], question: string): string =>
  [
    ...demonstrations.map((it) => `Q: ${it.question}\nA: ${it.reasoning} The answer is ${it.answer}.`),
    `Q: ${question}\nA:`,
  ].join('\n\n');

/** Steps of a chain of thought: its lines that say something. */
export const reasoningSteps = (reasoning: string): number =>
  reasoning.split('\n').filter((line) => line.trim() !== '').length;

/** The k demonstrations with the most steps, the most complex first (complexity-based prompting, arXiv 2210.00720 §3.1); ties in their order. */
export const mostComplex = (demonstrations: readonly Demonstration[], k: number): Demonstration[] =>
  [...demonstrations].sort((a, b) => reasoningSteps(b.reasoning) - reasoningSteps(a.reasoning)).slice(0, k);

/**
 * Few-shot chain of thought (arXiv 2201.11903): y ~ π(· | (q_1, z_1, a_1) … (q_k, z_k, a_k), x), where z are chains of thought. With n > 1 the
 * answer is the majority's (self-consistency, arXiv 2203.11171), and the text returned the first chain with it; without any answer it is the
 * first chain. Throws `NoCandidateError` when there is no chain.
 */
export async function chainOfThought(problem: Problem, options: ChainOfThoughtOptions): Promise<SearchResult> {
  const { n, demonstrations } = chainOfThoughtOptions.read(options);
  const search = new Search(chainOfThoughtOptions, problem, options);
  const prompt = withQuestion(problem.prompt, demonstrationPrompt(demonstrations, questionOf(problem.prompt)));
  const chains = await search.expand(search.root, { n, prompt, prefix: search.root.text });
  return finishVoteOrFirst(search, chains, 'there is no chain of thought.');
}
