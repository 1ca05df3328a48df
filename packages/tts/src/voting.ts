import type { Candidate } from './search-node.js';
import type { Vote } from './search-types.js';

/** Votes per answer with their supporters, most weight first; equal weights in order of first appearance. */
export interface Ballot<C extends Candidate = Candidate> {
  readonly vote: Vote;
  readonly supporters: readonly C[];
}

/** Counts `weight(candidate)` for each candidate's answer. Every candidate must have an answer. */
export function countVotes<C extends Candidate>(
  candidates: readonly C[],
  weight: (candidate: C) => number,
): Ballot<C>[] {
  const supporters = new Map<string, C[]>();
  for (const candidate of candidates) {
    const answer = candidate.answer!;
    const group = supporters.get(answer);
    if (group) group.push(candidate);
    else supporters.set(answer, [candidate]);
  }
  return [...supporters]
    .map(([answer, group]) => ({
      vote: { answer, count: group.length, weight: group.reduce((sum, candidate) => sum + weight(candidate), 0) },
      supporters: group,
    }))
    .sort((a, b) => b.vote.weight - a.vote.weight);
}

/** Says of candidates without an answer why they did not vote. */
export function withAnswer<C extends Candidate>(candidates: readonly C[]): C[] {
  return candidates.filter(({ answer, node }) => {
    if (answer === null) node.reason ??= 'no answer found';
    return answer !== null;
  });
}
