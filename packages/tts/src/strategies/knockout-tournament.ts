import { type Given, integer } from '@posttrain/interfaces';
import { compareShape, duel, judgeRole } from '../choosing.js';
import { questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';

const knockoutOptions = strategyOptions('knockout-tournament', {
  ...compareShape,
  /** K, how often a pair is compared, every other time in the other order. Default 2. */
  comparisons: integer({ default: 2, min: 1 }),
});
/** Options of `knockoutTournament`. `n` is the number of candidates. */
export type KnockoutTournamentOptions = Given<typeof knockoutOptions>;

/**
 * Knockout tournament (arXiv 2411.19477 §3): N candidates, and in each round pairs of neighbours are compared K times; who wins more of them
 * goes on, until one is left: (N − 1) K comparisons. If a comparison is right with probability p > 1/2 and a candidate with p_gen > 0,
 * the probability of a wrong result falls to 0 as a power of N and exponentially in K.
 *
 * An odd one out goes on without a comparison; a tie, and a pair that the budget does not allow, go to the candidate drawn first.
 * `judge` compares, or else a model by a prompt: `generators.judge` where there is one. Throws `NoCandidateError` when the budget allows no completion.
 */
export async function knockoutTournament(problem: Problem, options: KnockoutTournamentOptions): Promise<SearchResult> {
  const { judge, comparePrompt, parse, comparisons, ...settings } = knockoutOptions.read(options);
  const search = new Search(knockoutOptions, problem, options);
  const question = questionOf(problem.prompt);
  const dueling = {
    ...{ search, judge, parse, comparisons, role: judgeRole(settings) },
    prompt: (a: string, b: string) => withQuestion(problem.prompt, comparePrompt(question, a, b)),
  };
  let left: readonly SearchNode[] = await search.draw();
  if (left.length === 0) throw search.nothing('there is no completion.');
  for (let round = 1; left.length > 1; round++) {
    const pairs = Array.from({ length: Math.ceil(left.length / 2) }, (_, i) => left.slice(2 * i, 2 * i + 2));
    left = await Promise.all(
      pairs.map(async ([a, b]) => {
        if (!b) return a!;
        const [winner, loser] = (await duel(dueling, [a!, b])) >= 0.5 ? [a!, b] : [b, a!];
        loser.node.reason = `lost in round ${round}`;
        return winner;
      }),
    );
  }
  return search.finish(left[0]!, { reason: 'lost' });
}
