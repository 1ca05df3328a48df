import { assertKnownOptions } from '@posttrain/interfaces';
import type { Adapter } from '../model/adapter.js';
import type { ModelRunner } from '../runner/model-runner.js';
import { checkCount, checkNumber, searchBeams } from './beams.js';
import { ModelHypotheses } from './hypotheses.js';
import { checkedPrompts, type SearchHypothesis, type SearchPrompt } from './search-prompt.js';

/** Options of beam search, by transformers' names in camel case. */
export interface BeamSearchOptions {
  /** Hypotheses kept and returned for every prompt, N. 1 is greedy decoding. */
  readonly numBeams: number;
  /** Exponent α of the length in the score: above 0 favours long hypotheses, below 0 short ones. Default 1. */
  readonly lengthPenalty?: number;
  /**
   * When a prompt with N finished hypotheses ends: `true` at once; `false` when the best running one, at its present
   * length, scores no better than the worst finished one; `'never'` when it could not at any length up to `maxTokens`.
   * Default false.
   */
  readonly earlyStopping?: boolean | 'never';
  /** Default: none. */
  readonly adapter?: Adapter;
}

/** The options that every kind of beam search has, with their defaults. */
export function beamRules(options: Omit<BeamSearchOptions, 'adapter'>) {
  const { numBeams, lengthPenalty = 1, earlyStopping = false } = options;
  checkCount('numBeams', numBeams);
  checkNumber('lengthPenalty', lengthPenalty);
  return { size: numBeams, groups: 1, lengthPenalty, earlyStopping, diversityPenalty: 0 };
}

/**
 * Beam search (I1) with the semantics of Hugging Face `generate(num_beams=N)`: in every step the N best prefixes by
 *
 *   Σ_t log p(y_t | x, y_<t)
 *
 * go on; a hypothesis that ends among the N best is finished with the score Σ log p / |y|^α, |y| counting the end token.
 * Equal scores: the earlier beam, then the lower token id. With N at least the number of sequences it is exhaustive.
 *
 * Of each prompt, its finished hypotheses: N unless fewer exist, best first.
 *
 * @throws OutOfBlocksError when the runner's cache cannot hold the beams; nothing is kept in it then
 */
export async function beamSearch(
  runner: ModelRunner,
  prompts: readonly SearchPrompt[],
  options: BeamSearchOptions,
): Promise<SearchHypothesis[][]> {
  assertKnownOptions('beamSearch', options, ['numBeams', 'lengthPenalty', 'earlyStopping', 'adapter']);
  const { adapter, ...beams } = options;
  const rules = beamRules(beams);
  return searchBeams(
    new ModelHypotheses(runner, adapter ? { adapter } : {}),
    checkedPrompts(runner.network, prompts, adapter),
    rules,
  );
}
