import { equalAnswer } from '@posttrain/interfaces/answers';
import type { Search } from './search.js';
import { ancestry, type Candidate, type SearchNode } from './search-node.js';
import type { SearchResult, Vote } from './search-types.js';

/** Votes per answer with their supporters, most weight first; equal weights in order of first appearance. */
export interface Ballot<C extends Candidate = Candidate> {
  readonly vote: Vote;
  readonly supporters: readonly C[];
}

/** Counts `weight(candidate)` for each candidate's answer, equal ones as the first of them (`answersEqual`). Every candidate must have an answer. */
export function countVotes<C extends Candidate>(
  candidates: readonly C[],
  weight: (candidate: C) => number,
): Ballot<C>[] {
  const supporters = new Map<string, C[]>();
  for (const candidate of candidates) {
    const answer = equalAnswer(supporters.keys(), candidate.answer!) ?? candidate.answer!;
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

/**
 * Closes a search by a vote over what came of it: the answer with the most weight wins, the first seen of several, and its
 * text is `best` of its supporters (default: the first). All that the supporters came from is kept.
 *
 * @throws NoCandidateError that says `none` when nobody has an answer
 */
export function finishVote(
  search: Search,
  candidates: readonly SearchNode[],
  how: {
    readonly none: string;
    readonly weight?: (candidate: SearchNode) => number;
    readonly best?: (supporters: readonly SearchNode[]) => SearchNode;
  },
): SearchResult {
  const { none, weight = () => 1, best = (supporters) => supporters[0]! } = how;
  const ballots = countVotes(withAnswer(candidates), weight);
  const winner = ballots[0];
  if (!winner) throw search.nothing(none);
  const support = [...new Set(winner.supporters.flatMap((it) => [...ancestry(it)]))];
  return search.finish(best(winner.supporters), {
    support,
    votes: ballots.map(({ vote }) => vote),
    reason: 'outvoted',
  });
}

/** The same, or the first of them where nobody has an answer that could be counted (open texts). */
export function finishVoteOrFirst(search: Search, candidates: readonly SearchNode[], none: string): SearchResult {
  const [first] = candidates;
  if (!first || candidates.some(({ answer }) => answer !== null)) return finishVote(search, candidates, { none });
  return search.finish(first, { reason: 'not the first' });
}
