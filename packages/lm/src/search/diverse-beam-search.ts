import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import type { ModelRunner } from '../runner/model-runner.js';
import { type BeamSearchOptions, beamRules } from './beam-search.js';
import { checkCount, checkNumber, searchBeams } from './beams.js';
import { ModelHypotheses } from './hypotheses.js';
import { checkedPrompts, type SearchHypothesis, type SearchPrompt } from './search-prompt.js';

/** Options of diverse beam search (arXiv 1610.02424): those of beam search, and the groups. */
export interface DiverseBeamSearchOptions extends BeamSearchOptions {
  /** Groups G that the beams are divided in; divides `numBeams`. G = 1 is beam search. */
  readonly numBeamGroups: number;
  /** λ: what a token costs for each beam of an earlier group that chose it in the same step. */
  readonly diversityPenalty: number;
}

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
  options: DiverseBeamSearchOptions,
): Promise<SearchHypothesis[][]> {
  const own = ['numBeamGroups', 'diversityPenalty'];
  assertKnownOptions('diverseBeamSearch', options, [...own, 'numBeams', 'lengthPenalty', 'earlyStopping', 'adapter']);
  const { adapter, numBeamGroups: groups, diversityPenalty, ...beams } = options;
  const rules = beamRules(beams);
  checkCount('numBeamGroups', groups);
  checkNumber('diversityPenalty', diversityPenalty, 0);
  if (rules.size % groups !== 0) {
    throw new PosttrainError('SEARCH', `search: ${groups} groups do not divide ${rules.size} beams evenly`);
  }
  return searchBeams(
    new ModelHypotheses(runner, adapter ? { adapter } : {}),
    checkedPrompts(runner.network, prompts, adapter),
    {
      ...rules,
      size: rules.size / groups,
      groups,
      diversityPenalty,
    },
  );
}
