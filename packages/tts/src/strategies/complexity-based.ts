import { type Given, integer } from '@posttrain/interfaces';
import { parseOption } from '../prompting.js';
import { Search } from '../search.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVote, withAnswer } from '../voting.js';
import { reasoningSteps } from './chain-of-thought.js';

const complexityBasedOptions = strategyOptions('complexity-based', {
  /** K, the most complex chains, which vote. Default 4/5 of `n`, rounded up, as the paper's 40 of 50. */
  keep: integer({ optional: true, min: 1 }),
  /** How complex a chain is. Default: its lines that say something. */
  complexity: parseOption('how complex a chain is, a number', reasoningSteps),
});
/** Options of `complexityBased`. `n` is N, the chains that are drawn. */
export type ComplexityBasedOptions = Given<typeof complexityBasedOptions>;

/**
 * Complexity-based consistency (arXiv 2210.00720 §3.2): draw N chains of thought, and let only the K with the most steps vote:
 *
 *   argmax_a Σ_{i ∈ top K by steps} 1[a_i = a]
 *
 * K = N is the majority vote. Chains of equal complexity stand in their order; one without an answer is not among the K. Throws
 * `NoCandidateError` when none votes. Demonstrations are chosen by the same measure with `mostComplex`.
 */
export async function complexityBased(problem: Problem, options: ComplexityBasedOptions): Promise<SearchResult> {
  const { n, keep = Math.ceil(0.8 * n), complexity } = complexityBasedOptions.read(options);
  const search = new Search(complexityBasedOptions, problem, options);
  const candidates = await search.draw();
  const ranked = withAnswer(candidates)
    .map((node) => ({ node, steps: complexity(node.text) }))
    .sort((a, b) => b.steps - a.steps);
  for (const { node, steps } of ranked) node.payload = { steps };
  for (const { node } of ranked.slice(keep)) node.node.reason = `not among the ${keep} most complex`;
  const kept = candidates.filter((node) => ranked.slice(0, keep).some((it) => it.node === node));
  return finishVote(search, kept, { none: `none of ${candidates.length} completions has an answer.` });
}
