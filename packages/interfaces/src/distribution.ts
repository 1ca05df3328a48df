import { PosttrainError } from './errors.js';
import { assertArgument } from './options/option-error.js';
import type { Prompt } from './prompt.js';
import type { Scorer } from './score.js';

/** What could come next: a prompt and the texts that it is asked about. */
export interface CandidateRequest {
  readonly prompt: Prompt;
  /** Candidates, two or more, none empty: the answers of a question, the labels of a class, the digits of a rating. */
  readonly candidates: readonly string[];
}

/** A distribution over candidates. */
export interface CandidateDistribution {
  /** log p(candidate | prompt), natural log, of each by itself: what is missing to 1 is the mass of all other texts. */
  readonly logProbs: readonly number[];
  /** The same, normalised over the candidates: they sum to 1. */
  readonly probabilities: readonly number[];
  /** −Σ p log p of `probabilities`, in nats. */
  readonly entropy: number;
}

/** Anything that weighs candidates: a model's next token, its answers, a classifier's labels. */
export interface CandidateScorer {
  readonly name: string;
  /** One distribution a request, in their order. */
  distributions(requests: readonly CandidateRequest[]): Promise<CandidateDistribution[]>;
}

/**
 * A `CandidateScorer` of a `Scorer`: p(candidate) ∝ exp(log-likelihood of the candidate), which is the model's distribution restricted to
 * the candidates where each is one token.
 *
 * @throws OptionError for a request with fewer than two candidates, or an empty one; PosttrainError `BAD_RESPONSE` for a scorer that leaves some out
 */
export function candidateScorer(scorer: Scorer): CandidateScorer {
  return {
    name: scorer.name,
    async distributions(requests) {
      for (const { candidates } of requests) {
        const isGood = Array.isArray(candidates) && candidates.length >= 2 && candidates.every((text) => text !== '');
        assertArgument(
          'distributions',
          'candidates',
          candidates,
          isGood,
          'a list of two texts or more, none of them empty',
        );
      }
      const asked = requests.flatMap(({ prompt, candidates }) =>
        candidates.map((continuation) => ({ prompt, continuation })),
      );
      const scores = await scorer.score(asked);
      if (scores.length !== asked.length) {
        throw new PosttrainError(
          'BAD_RESPONSE',
          `${scorer.name} returned ${scores.length} scores for ${asked.length} requests.`,
        );
      }
      let next = 0;
      return requests.map(({ candidates }) => normalised(candidates.map(() => scores[next++]!.logProb)));
    },
  };
}

function normalised(logProbs: readonly number[]): CandidateDistribution {
  const most = Math.max(...logProbs);
  const weights = logProbs.map((logProb) => Math.exp(logProb - most));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const probabilities = weights.map((weight) => weight / total);
  const entropy = -probabilities.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);
  return { logProbs, probabilities, entropy };
}
