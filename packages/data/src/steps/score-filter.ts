import { custom, type Given, integer, number, options } from '@posttrain/interfaces';
import { DataOptionError } from '../errors.js';
import type { Row } from '../rows.js';
import { embedderOption, vectorsOf } from '../selection/embeddings.js';
import { inBatches } from '../selection/feature-requests.js';
import { type ScoreHead, scoreOf } from '../selection/score-head.js';
import type { DataStep } from '../step.js';
import { textOf, textOption } from './minhash-deduplicate.js';

const scoreFilterOptions = options('scoreFilter', {
  /** What maps texts to vectors: that which the head was fitted with. */
  embedder: embedderOption,
  /** Of `fitScoreHead`. */
  head: custom<ScoreHead>()(
    'a head of fitScoreHead',
    (value) =>
      Array.isArray((value as Partial<ScoreHead> | null)?.weights) && Number.isFinite((value as ScoreHead).bias),
    { settings: (head) => JSON.stringify(head) },
  ),
  /** Column of the text, or a function of the row. Default `"text"`. */
  text: textOption,
  /** Least whole score of what is kept. Default 3, FineWeb-Edu's. */
  threshold: number({ default: 3 }),
  /** Texts to one call of the embedder. Default 64. */
  batchSize: integer({ default: 64, min: 1, decisive: false }),
});
/** Options of `scoreFilter`. */
export type ScoreFilterOptions = Given<typeof scoreFilterOptions>;

/** A row with its score, and the same as a whole number from 0 to 5. */
export type WithScore<R> = R & { readonly score: number; readonly int_score: number };

/**
 * FineWeb-Edu's filter (arXiv 2406.17557 §4): adds `score` and `int_score`, which is the score cut to [0, 5] and rounded (halves to the even, as Python does), and
 * keeps rows of an `int_score` of at least 3.
 *
 * @throws OptionError; DataOptionError for a head of another embedder; DataStepError, RowError
 */
export function scoreFilter<R extends object = Row>(given: ScoreFilterOptions): DataStep<R, WithScore<R>> {
  const { embedder, head, text, threshold, batchSize } = scoreFilterOptions.read(given);
  if (head.embedder !== embedder.name) {
    throw new DataOptionError(
      'scoreFilter',
      `the head was fitted with ${head.embedder}, and the embedder is ${embedder.name}.`,
    );
  }
  return {
    name: 'score filter',
    version: JSON.stringify(scoreFilterOptions.settings(given)),
    async *apply(rows, context) {
      for await (const { batch, first } of inBatches(rows, batchSize)) {
        const texts = batch.map((row, i) => textOf(row, text, first + i));
        const vectors = vectorsOf(
          'scoreFilter',
          await embedder.embed(texts),
          batch.length,
          first - 1,
          head.weights.length,
        );
        for (const [i, row] of batch.entries()) {
          const score = scoreOf(head, vectors[i]!);
          const int_score = roundHalfToEven(Math.max(0, Math.min(score, 5)));
          if (int_score < threshold) context.drop(row, `int_score ${int_score}`);
          else yield context.derive({ ...row, score, int_score }, row);
        }
      }
    },
  };
}

const roundHalfToEven = (x: number): number => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
