import { oneOf, type Verifier } from '@posttrain/interfaces';
import { type AnswerExtractor, extractFinalAnswer } from '@posttrain/interfaces/answers';
import { answerOf } from './contracts.js';
import type { Search } from './search.js';
import type { SearchNode } from './search-node.js';
import type { SearchResult } from './search-types.js';
import { bestOf } from './step-score.js';
import { assertWeight } from './strategies/weighted-best-of-n.js';
import { finishVote, withAnswer } from './voting.js';

/** Which of the solutions is the answer: the answer with the largest sum of scores, or the solution with the highest. */
export const SELECTIONS = ['weighted-vote', 'best'] as const;
export type SolutionSelection = (typeof SELECTIONS)[number];
export const selectionOption = (chosen: SolutionSelection) => oneOf(SELECTIONS, { default: chosen });

/**
 * Ends a search with one of the solutions that it has met; ties go to the earlier one.
 *
 * @throws NoCandidateError when none has a score (for a vote: and an answer); InvalidArgumentError for a vote with a negative score
 */
export function finishWith(
  search: Search,
  solutions: readonly SearchNode[],
  scoreOf: (node: SearchNode) => number | null,
  { selection, verifier }: { readonly selection: SolutionSelection; readonly verifier: Verifier },
): SearchResult {
  const scored = solutions.filter((node) => scoreOf(node) !== null);
  const none = `none of ${solutions.length} texts has ended with a score`;
  if (selection === 'best') {
    const best = bestOf(scored, scoreOf);
    if (!best) throw search.nothing(`${none}.`);
    return search.finish(best, { reason: 'lower score' });
  }
  for (const node of withAnswer(scored)) assertWeight(`verifier "${verifier.name}"`, scoreOf(node)!);
  return finishVote(search, scored, {
    none: `${none} and an answer.`,
    weight: (node) => scoreOf(node)!,
    best: (supporters) => bestOf(supporters, scoreOf)!,
  });
}

/** Finds the answers of solutions that end at the last step of a search, or were merged: nobody has looked for them yet. */
export function findAnswers(solutions: readonly SearchNode[], extract: AnswerExtractor = extractFinalAnswer): void {
  for (const solution of solutions) {
    if (solution.answer !== null) continue;
    solution.node.answer = answerOf(extract, solution.text);
  }
}
