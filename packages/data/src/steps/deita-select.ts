import {
  type CandidateScorer,
  custom,
  type Given,
  integer,
  number,
  options,
  type Prompt,
  text,
} from '@posttrain/interfaces';
import type { Row } from '../rows.js';
import { featureRequestOf, featureRequestShape, inBatches } from '../selection/feature-requests.js';
import { dot, embedderOption, type SelectionStep, selectionStep, unitVectors } from '../selection/selection-step.js';
import { rolloutShape } from './rollouts.js';
import { scoresOf } from './verified.js';

const verifier = rolloutShape.verifier;
const deitaOptions = options('deitaSelect', {
  /** How complex an instruction is, such as `expectedRating`. */
  complexity: verifier,
  /** How good an answer is. */
  quality: verifier,
  /** Of prompt and completion together. */
  embedder: embedderOption,
  /** How many rows stay, at the most. */
  count: integer({ min: 1 }),
  /** A row is too like a chosen one above this cosine. Default 0.9. */
  threshold: number({ default: 0.9, above: -1, max: 1 }),
  ...featureRequestShape,
});
/** Options of `deitaSelect`. */
export type DeitaSelectOptions = Given<typeof deitaOptions>;

/**
 * DEITA (arXiv 2312.15685): rows in the order of complexity × quality, highest first, of which each stays whose cosine with all that stay is `threshold` at most, until there are `count`.
 * A row that cannot be scored goes.
 *
 * @throws OptionError; RowError for a row without prompt and completion; PosttrainError `BAD_RESPONSE`
 */
export function deitaSelect<R extends object = Row>(given: DeitaSelectOptions): SelectionStep<R> {
  const { complexity, quality, embedder, count, threshold, request, batchSize } = deitaOptions.read(given);
  return selectionStep(
    'deita select',
    JSON.stringify(deitaOptions.settings(given)),
    'others are better, or it is like one of them',
    async (rows, context) => {
      const all: { id: string; score: number; vector: Float64Array }[] = [];
      for await (const { batch, first } of inBatches(rows, batchSize)) {
        context.signal.throwIfAborted();
        const pairs = batch.map((row, i) => featureRequestOf(row, first + i, request));
        const vectors = await unitVectors(
          embedder,
          pairs.map(({ prompt, completion }) => `${plain(prompt)}\n${completion}`),
        );
        for (const [i, { prompt, completion }] of pairs.entries()) {
          const row = batch[i]!;
          const [hard] = await scoresOf(complexity, row, prompt, [completion], context.signal);
          const [good] = await scoresOf(quality, row, prompt, [completion], context.signal);
          if (hard === null || good === null) continue;
          all.push({ id: context.keyOf(row).id, score: hard! * good!, vector: vectors[i]! });
        }
      }
      const chosen: typeof all = [];
      for (const one of all.toSorted((a, b) => b.score - a.score)) {
        if (chosen.length === count) break;
        if (chosen.every(({ vector }) => dot(vector, one.vector) <= threshold)) chosen.push(one);
      }
      return chosen.map(({ id }) => id);
    },
  );
}

const plain = (prompt: Prompt): string =>
  typeof prompt === 'string' ? prompt : prompt.map(({ content }) => String(content)).join('\n');

const ratingOptions = options('expectedRating', {
  /** What weighs the ratings: `candidateScorer(scorer)`, or a model's. */
  scorer: custom<CandidateScorer>()(
    'a CandidateScorer ({ name, distributions(requests) })',
    (value) => typeof (value as Partial<CandidateScorer> | null)?.distributions === 'function',
    { settings: ({ name }) => name },
  ),
  /** What it is asked, with `{instruction}` and `{answer}` in the place of those. */
  prompt: text({}),
  /** The highest rating; the lowest is 1. Default 6, as DEITA's scorers have. */
  highest: integer({ default: 6, min: 2, max: 9 }),
});
/** Options of `expectedRating`. */
export type ExpectedRatingOptions = Given<typeof ratingOptions>;

/** A verifier whose score is the expectation Σ k · p(k) of a rating from 1 on, under a model's distribution of the digits: DEITA's way to score. */
export function expectedRating(given: ExpectedRatingOptions) {
  const { scorer, prompt: template, highest: most } = ratingOptions.read(given);
  const candidates = Array.from({ length: most }, (_, i) => String(i + 1));
  return {
    name: `expected rating of ${scorer.name}`,
    async verify(requests: readonly { readonly prompt: Prompt; readonly completion: string }[]) {
      const asked = requests.map(({ prompt, completion }) => ({
        prompt: template.replaceAll('{instruction}', () => plain(prompt)).replaceAll('{answer}', () => completion),
        candidates,
      }));
      const found = await scorer.distributions(asked);
      return found.map(({ probabilities }) => ({ score: probabilities.reduce((sum, p, i) => sum + p * (i + 1), 0) }));
    },
  };
}
