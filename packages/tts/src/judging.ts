import type { CompareRequest, PairJudge, Verdict, Verifier, VerifyRequest } from '@posttrain/interfaces';
import { answerOf } from './contracts.js';
import type { SearchNode } from './search-node.js';
import type { Problem } from './search-options.js';

/** What a verifier is asked about a node. */
export const verifyRequest = (
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
export function applyVerdict({ node, state }: SearchNode, verdict: Verdict, answers: boolean): void {
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
