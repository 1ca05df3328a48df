import { type Given, integer, number, options, PosttrainError } from '@posttrain/interfaces';
import type { ModelRunner } from '../runner/model-runner.js';
import { beamShape, numBeams } from './beam-search.js';
import { searchBeams } from './beams.js';
import { ModelHypotheses } from './hypotheses.js';
import { checkedPrompts, type SearchHypothesis, type SearchPrompt } from './search-prompt.js';

const diverseBeamSearchOptions = options('diverseBeamSearch', {
  numBeams,
  ...beamShape,
  /** Groups G that the beams are divided in; divides `numBeams`. G = 1 is beam search. */
  numBeamGroups: integer({ min: 1 }),
  /** λ: what a token costs for each beam of an earlier group that chose it in the same step. */
  diversityPenalty: number({ min: 0 }),
});
/** Options of diverse beam search (arXiv 1610.02424): those of beam search, and the groups. */
export type DiverseBeamSearchOptions = Given<typeof diverseBeamSearchOptions>;

/**
 * Diverse beam search (arXiv 1610.02424) with Hamming diversity: groups of N/G beams, one after the other in every step,
 * each a beam search by itself over
 *
 *   Σ_t log p(y_t | x, y_<t) - λ · (beams of earlier groups that chose y_t at step t)
 *
 * As in fairseq and transformers 4, the penalties stay in a hypothesis' score; `logProbs` are without them.
 *
 * Of each prompt, the finished hypotheses of all groups, best first.
 *
 * @throws OutOfBlocksError when the runner's cache cannot hold the beams; nothing is kept in it then
 */
export async function diverseBeamSearch(
  runner: ModelRunner,
  prompts: readonly SearchPrompt[],
  given: DiverseBeamSearchOptions,
): Promise<SearchHypothesis[][]> {
  const { adapter, numBeams: beams, numBeamGroups: groups, ...rules } = diverseBeamSearchOptions.read(given);
  if (beams % groups !== 0) {
    throw new PosttrainError('SEARCH', `search: ${groups} groups do not divide ${beams} beams evenly`);
  }
  return searchBeams(
    new ModelHypotheses(runner, adapter ? { adapter } : {}),
    checkedPrompts(runner.network, prompts, adapter),
    {
      ...rules,
      size: beams / groups,
      groups,
    },
  );
}
