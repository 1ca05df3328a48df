import type { Given } from '@posttrain/interfaces';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { countVotes, withAnswer } from '../voting.js';
import { type Episode, episodeShape, runEpisodes } from './episodes.js';

const reactOptions = strategyOptions('react', episodeShape);
/** Options of `react`. `n` is the number of episodes. */
export type ReactOptions = Given<typeof reactOptions>;

/** Gives the nodes of finished episodes their answers, and says of the others why they have none. */
export function answered(episodes: readonly Episode[]): SearchNode[] {
  return episodes.flatMap(({ node, answer, calls }) => {
    node.payload = { ...(typeof node.payload === 'object' ? node.payload : {}), calls: calls.length };
    const found = answer?.trim() ?? '';
    node.node.answer = found === '' ? null : found;
    if (node.answer === null) node.node.reason ??= 'the episode did not finish';
    return node.answer === null ? [] : [node];
  });
}

/**
 * ReAct (arXiv 2210.03629): thoughts, actions and observations by turns. The model writes `Thought … Action: tool[argument]` and stops at the
 * mark of an observation, the tool is called, what it gives is put after the mark, and the model goes on, until it calls `finish[answer]` or
 * at `maxSteps`.
 *
 * Of n episodes the answer of most is returned (n = 1: the paper's; more: self-consistency over episodes); ties go to the answer of the earlier
 * episode. An action that there is no tool for is told to the model as the observation; a text without an action ends its episode (the
 * authors' code asks once more, for the action alone).
 * Observations are in the trace, and no tokens of the generator. Throws `NoCandidateError` when no episode has finished, and what a tool throws.
 */
export async function react(problem: Problem, options: ReactOptions): Promise<SearchResult> {
  const read = reactOptions.read(options);
  const search = new Search(reactOptions, problem, options);
  const roots = Array.from({ length: read.n }, (_, episode) => search.merge([search.root], { episode }));
  const finished = answered(await runEpisodes(search, roots, read));
  const ballots = countVotes(withAnswer(finished), () => 1);
  const [winner] = ballots;
  if (!winner) throw search.nothing(`none of ${read.n} episodes has finished.`);
  const support = winner.supporters as readonly SearchNode[];
  return search.finish(support[0]!, { support, votes: ballots.map(({ vote }) => vote), reason: 'outvoted' });
}
