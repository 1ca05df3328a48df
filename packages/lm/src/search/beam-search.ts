import { custom, type Given, integer, number, oneOf, options } from '@posttrain/interfaces';
import { adapterOption } from '../model/adapter-option.js';
import type { ModelRunner } from '../runner/model-runner.js';
import { searchBeams } from './beams.js';
import { ModelHypotheses } from './hypotheses.js';
import { checkedPrompts, type SearchHypothesis, type SearchPrompt } from './search-prompt.js';

/** What every kind of beam search takes. */
export const beamShape = {
  /** Exponent α of the length in the score: above 0 favours long hypotheses, below 0 short ones. Default 1. */
  lengthPenalty: number({ default: 1 }),
  /**
   * What the sum over L tokens is divided by, with α = `lengthPenalty`: L^α, as transformers has it (`power`), or
   * ((5 + L) / 6)^α, as GNMT (arXiv 1609.08144) and OpenNMT's `wu`. Default `power`.
   */
  lengthNormalization: oneOf(['power', 'wu'], { default: 'power' }),
  /**
   * When a prompt with N finished hypotheses ends: `true` at once; `false` when the best running one, at its present
   * length, scores no better than the worst finished one; `'never'` when it could not at any length up to `maxTokens`.
   * Default false.
   */
  earlyStopping: custom<boolean | 'never'>()(
    'true, false or "never"',
    (value) => typeof value === 'boolean' || value === 'never',
    { default: false },
  ),
  /** Default: none. */
  adapter: adapterOption,
};
/** Hypotheses kept and returned for every prompt, N. 1 is greedy decoding. */
export const numBeams = integer({ min: 1 });
const beamSearchOptions = options('beamSearch', { numBeams, ...beamShape });
/** Options of beam search, by transformers' names in camel case. */
export type BeamSearchOptions = Given<typeof beamSearchOptions>;

/**
 * Beam search (I1) with the semantics of Hugging Face `generate(num_beams=N)`: in every step the N best prefixes by
 *
 *   Σ_t log p(y_t | x, y_<t)
 *
 * go on; a hypothesis that ends among the N best is finished with the score Σ log p / |y|^α (or, by `lengthNormalization`, over ((5 + |y|) / 6)^α), |y| counting the end token.
 * Equal scores: the earlier beam, then the lower token id. With N at least the number of sequences it is exhaustive.
 *
 * Of each prompt, its finished hypotheses: N unless fewer exist, best first.
 *
 * @throws OutOfBlocksError when the runner's cache cannot hold the beams; nothing is kept in it then
 */
export async function beamSearch(
  runner: ModelRunner,
  prompts: readonly SearchPrompt[],
  given: BeamSearchOptions,
): Promise<SearchHypothesis[][]> {
  const { adapter, numBeams: size, ...rules } = beamSearchOptions.read(given);
  return searchBeams(
    new ModelHypotheses(runner, adapter ? { adapter } : {}),
    checkedPrompts(runner.network, prompts, adapter),
    { ...rules, size, groups: 1, diversityPenalty: 0 },
  );
}
