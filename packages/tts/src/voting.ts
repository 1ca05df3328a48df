import type { Candidate } from './search-node.js';
import type { Vote } from './search-types.js';

/** Votes per answer with their supporters, most weight first; equal weights in order of first appearance. */
export interface Ballot {
  readonly vote: Vote;
  readonly supporters: readonly Candidate[];
}

/** Counts `weight(candidate)` for each candidate's answer. Every candidate must have an answer. */
export function countVotes(candidates: readonly Candidate[], weight: (candidate: Candidate) => number): Ballot[] {
  const supporters = new Map<string, Candidate[]>();
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
export function withAnswer(candidates: readonly Candidate[]): Candidate[] {
  return candidates.filter(({ answer, node }) => {
    if (answer === null) node.reason ??= 'no answer found';
    return answer !== null;
  });
}
