import { type Given, integer, listOf, options, text } from '@posttrain/interfaces';
import type { Row } from '../rows.js';
import { checkedVectors, inBatches } from '../selection/feature-requests.js';
import { embedderOption, type SelectionStep, selectionStep } from '../selection/selection-step.js';
import { textOf } from '../steps/asking.js';

/**
 * Farthest-first traversal (k-center greedy of Core-Set, arXiv 1708.00489): each next centre is the vector that is furthest from all before; the largest distance of a vector to its
 * nearest centre is at most twice what the best centres have. The first, where there are no centres yet, is the first vector. Returns indices in the order in which they were chosen.
 *
 * @param centres vectors that are labelled already
 */
export function kCenterGreedy(
  vectors: readonly ArrayLike<number>[],
  count: number,
  centres: readonly ArrayLike<number>[] = [],
): number[] {
  const squared = (a: ArrayLike<number>, b: ArrayLike<number>) => {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
    return sum;
  };
  const nearest = vectors.map((vector) =>
    centres.reduce((least, centre) => Math.min(least, squared(vector, centre)), Number.POSITIVE_INFINITY),
  );
  const chosen: number[] = [];
  while (chosen.length < Math.min(count, vectors.length)) {
    let next = -1;
    for (const [i, far] of nearest.entries()) if (far >= 0 && (next < 0 || far > nearest[next]!)) next = i;
    chosen.push(next);
    for (const [i, vector] of vectors.entries()) nearest[i] = Math.min(nearest[i]!, squared(vector, vectors[next]!));
    nearest[next] = -1;
  }
  return chosen;
}

const coreSetOptions = options('coreSetSelect', {
  embedder: embedderOption,
  /** How many rows are chosen to be labelled. */
  count: integer({ min: 1 }),
  /** Texts that are labelled already. Default none. */
  labelled: listOf(text({}), { default: [] }),
  /** Column of the text that is embedded. Default `'prompt'`. */
  column: text({ default: 'prompt' }),
  /** Rows that are embedded in one call. Default 64. */
  batchSize: integer({ default: 64, min: 1, decisive: false }),
});
/** Options of `coreSetSelect`. */
export type CoreSetSelectOptions = Given<typeof coreSetOptions>;

/**
 * Core-Set selection (arXiv 1708.00489): the rows that cover all others best, by `kCenterGreedy` on embeddings. A plan, which holds one vector a row.
 *
 * @throws OptionError; RowError for a row without the column; PosttrainError `BAD_RESPONSE`
 */
export function coreSetSelect<R extends object = Row>(given: CoreSetSelectOptions): SelectionStep<R> {
  const { embedder, count, labelled, column, batchSize } = coreSetOptions.read(given);
  return selectionStep(
    'core-set select',
    JSON.stringify(coreSetOptions.settings(given)),
    'is near to a chosen row',
    async (rows, context) => {
      const ids: string[] = [];
      const vectors: Float32Array[] = [];
      for await (const { batch, first } of inBatches(rows, batchSize)) {
        const texts = batch.map((row, i) => textOf(row, column, first + i));
        vectors.push(...checkedVectors(embedder.name, await embedder.embed(texts), texts.length));
        ids.push(...batch.map((row) => context.keyOf(row).id));
      }
      const known =
        labelled.length === 0 ? [] : checkedVectors(embedder.name, await embedder.embed(labelled), labelled.length);
      return kCenterGreedy(vectors, count, known).map((i) => ids[i]!);
    },
  );
}
