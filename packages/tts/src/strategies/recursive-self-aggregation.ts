import { type Given, integer, oneOf } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { numbered, promptOption, questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { finishVote } from '../voting.js';

const recursiveOptions = strategyOptions('recursive-self-aggregation', {
  /** K, the solutions that a new one is made of. Default 4. */
  subset: integer({ default: 4, min: 1 }),
  /** T, the populations, the first one that is drawn among them. Default 4. */
  steps: integer({ default: 4, min: 1 }),
  /** What is asked about a subset. */
  aggregatePrompt: promptOption(
    'a question and candidate solutions',
    (question: string, solutions: readonly string[]) =>
      `${question}\n\nHere are candidate solutions, some of which may be wrong:\n\n${numbered('Candidate', solutions)}\n\nUse what is right in them to write one better solution, which ends with the answer.`,
  ),
  /** What is returned of the last population: its majority, or one of it at random. Default `vote`. */
  selection: oneOf(['vote', 'random'], { default: 'vote' }),
});
/** Options of `recursiveSelfAggregation`. `n` is N, the population. */
export type RecursiveSelfAggregationOptions = Given<typeof recursiveOptions>;

/**
 * Recursive self-aggregation (RSA, arXiv 2509.26626 §3): a population P_1 of N solutions is drawn; and for t = 2 … T each of N new ones is
 * written by the model from K different ones of P_{t−1}, drawn without replacement:
 *
 *   S_i ⊆ P_{t−1}, |S_i| = K,   y_i ~ π(· | x, S_i),   P_t = {y_1 … y_N}
 *
 * The answer is the majority of P_T, or a uniform draw from it. T = 1 is parallel sampling alone, K = 1 sequential revision in N chains: N T
 * completions. The subsets are drawn with `sampling.seed`. A budget that ends a population returns from the last that is
 * whole. Throws `NoCandidateError` when there is none, or none of it has an answer to vote with.
 */
export async function recursiveSelfAggregation(
  problem: Problem,
  options: RecursiveSelfAggregationOptions,
): Promise<SearchResult> {
  const { n, subset, steps, aggregatePrompt, selection, sampling } = recursiveOptions.read(options);
  const search = new Search(recursiveOptions, problem, options);
  const random = createRandom(sampling?.seed ?? 0, recursiveOptions.where);
  const question = questionOf(problem.prompt);
  let population: readonly SearchNode[] = await search.draw();
  if (population.length === 0) throw search.nothing('there is no completion.');
  for (let t = 2; t <= steps && search.exhausted === null; t++) {
    const subsets = Array.from({ length: n }, () => random.shuffled(population).slice(0, subset));
    const next = await Promise.all(
      subsets.map((solutions) => {
        const prompt = withQuestion(
          problem.prompt,
          aggregatePrompt(
            question,
            solutions.map(({ text }) => text),
          ),
        );
        return search.expand(search.merge(solutions, { operation: 'aggregate', step: t }), { n: 1, prompt });
      }),
    );
    if (next.flat().length < n) break;
    for (const { node } of population) node.reason = `of population ${t - 1}`;
    population = next.flat();
  }
  if (selection === 'random') return search.finish(random.pick(population), { reason: 'not drawn' });
  return finishVote(search, population, { none: `none of ${population.length} solutions has an answer.` });
}
