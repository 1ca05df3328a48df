import { custom, type Given, integer, options, type RowGradients } from '@posttrain/interfaces';
import type { Row } from '../rows.js';
import { checkedVectors, featureRequestOf, featureRequestShape, inBatches } from '../selection/feature-requests.js';
import { kMeansPlusPlus } from '../selection/k-means-plus-plus.js';
import type { DataStep } from '../step.js';

const badgeOptions = options('badgeSelect', {
  /**
   * `classifierGradients(model)` of `@posttrain/lm`, whose completion is not read here, or `rowGradients(trainer)` of
   * `@posttrain/training`, which must train the output layer.
   */
  gradients: custom<RowGradients>()(
    'gradients of rows ({ name, gradients(requests) })',
    (value) => typeof (value as Partial<RowGradients> | null)?.gradients === 'function',
    { settings: ({ name }) => name },
  ),
  /** How many rows are chosen to be labelled. */
  count: integer({ min: 1 }),
  /**
   * Length of a random projection of each gradient, for output layers too wide to keep one for every row. Default:
   * none.
   */
  projection: integer({ optional: true, min: 1 }),
  /** Of the centres, and of the projection. Default 0. */
  seed: integer({ default: 0 }),
  ...featureRequestShape,
});
/** Options of `badgeSelect`. */
export type BadgeSelectOptions = Given<typeof badgeOptions>;

/** What `badgeSelect` decides before a row is given on. */
export interface BadgePlan {
  /** Ids of the rows that are chosen. */
  readonly chosen: ReadonlySet<string>;
}

/**
 * Batch active learning by gradient embeddings (BADGE, arXiv 1906.03671): rows are embedded as the output layer's
 * gradient (p − e_ŷ) ⊗ h with the model's own prediction ŷ as the label, and k-means++ chooses `count` of them that
 * are both uncertain (long) and unlike one another. They come in the order of the source. A plan, which holds one
 * vector a row.
 *
 * @throws OptionError; RowError for a row without prompt and completion; PosttrainError `BAD_RESPONSE` for gradients
 *   of other numbers or lengths
 */
export function badgeSelect<R extends object = Row>(
  given: BadgeSelectOptions,
): DataStep<R, R, BadgePlan> & { readonly passes: true } {
  const { gradients, count, projection, seed, request, batchSize } = badgeOptions.read(given);
  return {
    name: 'badge select',
    version: JSON.stringify(badgeOptions.settings(given)),
    passes: true,
    async plan(rows, context) {
      const { signal } = context;
      const ids: string[] = [];
      const embeddings: Float32Array[] = [];
      for await (const { batch, first } of inBatches(rows, batchSize)) {
        const requests = batch.map((row, i) => featureRequestOf(row, first + i, request));
        const asked = {
          ...({ of: 'hallucinated', parameters: 'output', seed, signal } as const),
          ...(projection !== undefined && { projection }),
        };
        const vectors = await gradients.gradients(requests, asked);
        embeddings.push(...checkedVectors(gradients.name, vectors, batch.length));
        ids.push(...batch.map((row) => context.keyOf(row).id));
        context.onProgress({ stage: 'badge select: gradients', done: ids.length });
      }
      checkedVectors(gradients.name, embeddings, ids.length);
      const random = context.random(seed);
      const chosen = kMeansPlusPlus(embeddings, count, () => random.float());
      return { chosen: new Set(chosen.map((i) => ids[i]!)) };
    },
    async *apply(rows, context, { chosen }) {
      for await (const row of rows) {
        if (chosen.has(context.keyOf(row).id)) yield row;
        else context.drop(row, 'not among the chosen');
      }
    },
  };
}
