import type { CompareRequest, PairJudge, Verdict, Verifier, VerifyRequest } from '@posttrain/interfaces';
import type { Reservation } from '@posttrain/interfaces/ledger';
import { answerOf } from './contracts.js';
import type { Judge, Rounds } from './rounds.js';
import type { SearchNode } from './search-node.js';
import type { Problem } from './search-options.js';

/** Why a node has no score when the wall time was over. */
export const OVERTIME = 'not verified: wall time over';

/** Why a node was lost to a call that has failed. */
export const failedBecause = (cause: unknown): string =>
  `failed: ${cause instanceof Error ? cause.message : String(cause)}`;

/** What a verifier is asked about a node. */
const verifyRequest = (
  { prompt, row }: Pick<Problem, 'prompt' | 'row'>,
  node: SearchNode,
): Omit<VerifyRequest, 'signal'> => {
  const { text, tokenIds, depth } = node;
  const { finishReason } = node.node;
  return {
    ...{ prompt, completion: text },
    ...(row && { row }),
    // Of a later step they are not those of the text.
    ...(tokenIds && depth === 1 && { tokenIds }),
    ...(finishReason && { finishReason }),
  };
};

/** Writes a verdict to its node. Votes: where `answers`, a verifier that finds the answer also decides which are equal. */
function applyVerdict({ node, state }: SearchNode, verdict: Verdict, answers: boolean): void {
  const { score, stepScores, explanation, answer } = verdict;
  node.score = score;
  if (answer !== undefined && state !== 'open' && answers) node.answer = answerOf(() => answer, '');
  if (stepScores !== undefined) node.stepScores = stepScores;
  if (explanation !== undefined) node.explanation = explanation;
  if (score === null) node.reason = 'not scorable';
}

const POINTS = { first: 1, tie: 0.5, second: 0 } as const;
const asVerifiers = new WeakMap<PairJudge, Verifier>();

/** A judge of pairs as the verifier that a search knows how to ask: its score is the first one's point. Always the same for one judge. */
export function pairVerifier(judge: PairJudge): Verifier {
  const known = asVerifiers.get(judge);
  if (known) return known;
  const verifier: Verifier = {
    name: judge.name,
    verify: async (requests) => {
      // Asked with `pairRequest` only.
      const verdicts = await judge.compare(requests as unknown as CompareRequest[]);
      if (!Array.isArray(verdicts)) return verdicts;
      return verdicts.map((verdict): Verdict => {
        const { winner, usage } = verdict ?? {};
        // What is no winner is a score that is none, for which the judge is blamed by name.
        const score = winner === null ? null : (POINTS[winner as keyof typeof POINTS] ?? Number.NaN);
        return { score, ...(usage && { usage }) };
      });
    },
  };
  asVerifiers.set(judge, verifier);
  return verifier;
}

/** What a judge is asked about a pair, in the place of a completion. */
export const pairRequest = (
  { prompt, row }: Problem,
  [first, second]: readonly [SearchNode, SearchNode],
): Omit<VerifyRequest & CompareRequest, 'signal'> => ({
  ...{ prompt, completion: first.text, first: first.text, second: second.text },
  ...(row && { row }),
});

/** What judging a search's nodes needs of the search. */
interface Court {
  readonly problem: Problem;
  readonly rounds: Rounds;
  /** Whether a verifier's answers are those that are counted. */
  readonly findsAnswers: boolean;
  /** Whether the wall time is over. */
  readonly isOver: () => boolean;
  /** Whether the search goes on without what has failed so. */
  readonly drops: (cause: unknown) => boolean;
}

/** Asks the verifiers of a search, and writes what they say to its nodes. */
export class Judges {
  readonly #court: Court;

  constructor(court: Court) {
    this.#court = court;
  }

  /** @param problem what the texts answer */
  async judge(
    verifier: Verifier,
    nodes: readonly SearchNode[],
    reservations: readonly Reservation[],
    problem: Pick<Problem, 'prompt' | 'row'> = this.#court.problem,
  ): Promise<void> {
    const requests = nodes.map((node) => verifyRequest(problem, node));
    const { verdicts, failure } = await this.verdicts(verifier, requests, reservations);
    nodes.forEach((node, i) => {
      const verdict = verdicts?.[i];
      if (verdict) applyVerdict(node, verdict, this.#court.findsAnswers);
      else node.node.reason = failure ? `not verified: ${failure}` : OVERTIME;
    });
  }

  /** No verdicts when the wall time was over, or the verifier has failed and that is not to end the search. */
  async verdicts(
    verifier: Verifier,
    requests: Judge['requests'],
    reservations: readonly Reservation[],
  ): Promise<{ readonly verdicts?: readonly Verdict[] | undefined; readonly failure?: string }> {
    if (requests.length === 0) return {};
    if (this.#court.isOver()) {
      for (const reservation of reservations) reservation.settle({});
      return {};
    }
    try {
      return { verdicts: await this.#court.rounds.judge({ verifier, requests, reservations }) };
    } catch (cause) {
      if (!this.#court.drops(cause)) throw cause;
      return { failure: failedBecause(cause) };
    }
  }
}
