import { type Given, integer } from '@posttrain/interfaces';
import { choose, judgeRole } from '../choosing.js';
import { lastNumber, numbered, parseOption, promptOption, questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';

const genSelectOptions = strategyOptions('gen-select', {
  /** The most solutions in one question. Default 8. */
  groupSize: integer({ default: 8, min: 2 }),
  /** What is asked about a group. */
  selectPrompt: promptOption(
    'a question and its solutions',
    (question: string, solutions: readonly string[]) =>
      `${question}\n\n${numbered('Solution', solutions)}\n\nCompare the solutions and find out which are right. End with the number of the best one.`,
  ),
  /** Which solution was named, from 0; `null`: none. Default: the last number in the text. */
  parse: parseOption('which solution is named', lastNumber),
});
/** Options of `genSelect`. `n` is the number of solutions. */
export type GenSelectOptions = Given<typeof genSelectOptions>;

/**
 * GenSelect (arXiv 2504.16891, 2507.17797): best-of-N in which a reasoning model compares the solutions with each other, in the place of scores.
 * Draw y_1 … y_N; groups of `groupSize`, in their order, are shown to it (`generators.judge`, or the generator itself), the one
 * that it names goes on, and so in rounds until one is left.
 *
 * Where none is named, or the budget does not allow the question, the first of the group goes on. Throws `NoCandidateError` when the
 * budget allows no completion.
 */
export async function genSelect(problem: Problem, options: GenSelectOptions): Promise<SearchResult> {
  const { groupSize, selectPrompt, parse, ...settings } = genSelectOptions.read(options);
  const search = new Search(genSelectOptions, problem, options);
  const question = questionOf(problem.prompt);
  const role = judgeRole(settings);
  const select = async (group: readonly SearchNode[]): Promise<SearchNode> => {
    if (group.length === 1) return group[0]!;
    const texts = group.map(({ text }) => text);
    const prompt = withQuestion(problem.prompt, selectPrompt(question, texts));
    return group[(await choose(search, group, prompt, parse, role)) ?? 0]!;
  };
  let left: readonly SearchNode[] = await search.draw();
  if (left.length === 0) throw search.nothing('there is no completion.');
  while (left.length > 1) {
    const groups = Array.from({ length: Math.ceil(left.length / groupSize) }, (_, i) =>
      left.slice(i * groupSize, (i + 1) * groupSize),
    );
    left = await Promise.all(groups.map(select));
  }
  return search.finish(left[0]!, { reason: 'not selected' });
}
