import {
  custom,
  type FeatureRequest,
  type Given,
  number,
  options,
  PosttrainError,
  type Scorer,
} from '@posttrain/interfaces';
import type { Row } from '../rows.js';
import { featureRequestOf, featureRequestShape, inBatches } from '../selection/feature-requests.js';
import type { DataStep } from '../step.js';

const perplexityFilterOptions = options('perplexityFilter', {
  /** The reference model ρ: a `LocalScorer`, or an endpoint's. */
  scorer: custom<Scorer>()(
    'a scorer: an object with a name and score(requests)',
    (value) => typeof (value as Scorer | null)?.score === 'function',
    {
      settings: ({ name }) => name,
    },
  ),
  /** What ρ itself has sampled for prompts like these: the threshold comes from these alone. */
  generated: custom<readonly FeatureRequest[]>()(
    'a list of at least one { prompt, completion }',
    (value) => Array.isArray(value) && value.length > 0,
    { settings: (generated) => JSON.stringify(generated) },
  ),
  /** Share of what ρ has sampled that lies below the threshold. Default 0.95. */
  percentile: number({ default: 0.95, above: 0, max: 1 }),
  ...featureRequestShape,
});
/** Options of `perplexityFilter`. */
export type PerplexityFilterOptions = Given<typeof perplexityFilterOptions>;

/** What `perplexityFilter` decides before a row is given on. */
export interface PerplexityPlan {
  readonly threshold: number;
}

/**
 * The perplexity filter for DPO (survey arXiv 2502.21321 §3.2.6): keeps a row where PP_ρ(y|x) = exp(-1/|y| Σ_t log ρ(y_t|x, y_<t)) is below the
 * 95th percentile of the same of what ρ has generated (between two values linearly), so that no completion is preferred that the reference
 * would hardly ever say. Of pairs give what is chosen, or what is rejected, with `request`. A completion without tokens is dropped.
 *
 * @throws OptionError; RowError for a row without prompt and completion; PosttrainError `BAD_RESPONSE` for other numbers of scores
 */
export function perplexityFilter<R extends object = Row>(
  given: PerplexityFilterOptions,
): DataStep<R, R, PerplexityPlan> & { readonly passes: true } {
  const { scorer, generated, percentile, request, batchSize } = perplexityFilterOptions.read(given);
  return {
    name: 'perplexity filter',
    version: JSON.stringify(perplexityFilterOptions.settings(given)),
    passes: true,
    async plan() {
      const sorted = (await perplexities(scorer, generated)).filter(Number.isFinite).toSorted((a, b) => a - b);
      if (sorted.length === 0) {
        throw new PosttrainError(
          'PERPLEXITY',
          'perplexityFilter: nothing in generated has tokens, so there is no threshold',
        );
      }
      const place = percentile * (sorted.length - 1);
      const [low, high] = [sorted[Math.floor(place)]!, sorted[Math.ceil(place)]!];
      return { threshold: low + (place - Math.floor(place)) * (high - low) };
    },
    async *apply(rows, context, { threshold }) {
      for await (const { batch, first } of inBatches(rows, batchSize)) {
        context.signal.throwIfAborted();
        const found = await perplexities(
          scorer,
          batch.map((row, i) => featureRequestOf(row, first + i, request)),
        );
        for (const [i, row] of batch.entries()) {
          if (found[i]! < threshold) yield row;
          else context.drop(row, 'the reference would hardly say it');
        }
      }
    },
  };
}

/** Infinite of a completion without tokens. */
async function perplexities(scorer: Scorer, requests: readonly FeatureRequest[]): Promise<number[]> {
  const scores = await scorer.score(requests.map(({ prompt, completion }) => ({ prompt, continuation: completion })));
  if (scores.length !== requests.length) {
    throw new PosttrainError(
      'BAD_RESPONSE',
      `${scorer.name} returned ${scores.length} scores for ${requests.length} requests.`,
    );
  }
  return scores.map(({ logProb, tokens }) => (tokens > 0 ? Math.exp(-logProb / tokens) : Number.POSITIVE_INFINITY));
}
