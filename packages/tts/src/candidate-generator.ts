import {
  assertArgument,
  type CandidateScorer,
  type Completion,
  type Generator,
  PosttrainError,
} from '@posttrain/interfaces';

/**
 * A `Generator` of whoever weighs candidates (a classifier, a model asked about its next token): it answers with the likeliest of `candidates`,
 * the first of equals, as one token with `log p`, normalised over the candidates. It draws nothing: temperature and seed change nothing.
 *
 * @throws OptionError for fewer than two candidates; PosttrainError `BAD_RESPONSE` for a scorer that leaves requests out
 */
export function candidateGenerator(scorer: CandidateScorer, candidates: readonly string[]): Generator {
  const isGood = Array.isArray(candidates) && candidates.length >= 2;
  assertArgument('candidateGenerator', 'candidates', candidates, isGood, 'a list of two texts or more');
  return {
    name: scorer.name,
    async generate(requests) {
      const found = await scorer.distributions(requests.map(({ prompt }) => ({ prompt, candidates })));
      if (found.length !== requests.length) {
        const counts = `${found.length} distributions for ${requests.length} requests`;
        throw new PosttrainError('BAD_RESPONSE', `${scorer.name} returned ${counts}.`);
      }
      return requests.map(({ n = 1 }, i) => {
        const { probabilities } = found[i]!;
        const most = Math.max(...probabilities);
        const answer: Completion = {
          text: candidates[probabilities.indexOf(most)]!,
          finishReason: 'stop',
          stop: null,
          logProbs: [Math.log(most)],
          usage: { promptTokens: 0, completionTokens: 1 },
        };
        return Array.from({ length: n }, () => answer);
      });
    },
  };
}
