import { setImmediate } from 'node:timers/promises';
import { type Given, integer, number, oneOf, options } from '@posttrain/interfaces';
import { innerProduct, sphericalKMeans } from '../dedup/spherical-k-means.js';
import type { Row } from '../rows.js';
import { embedderOption, unitVectors } from '../selection/embeddings.js';
import type { DataStep } from '../step.js';
import { assertDistinct, textOf, textOption } from './minhash-deduplicate.js';

const semDeDupOptions = options('semDeDup', {
  /** What maps texts to vectors; a finished stage is known again by its name. */
  embedder: embedderOption,
  /** Column of the text, or a function of the row. Default `"text"`. */
  text: textOption,
  /** ε: texts of a cluster with a cosine similarity above 1 − ε are duplicates. Default 0.05. */
  epsilon: number({ default: 0.05, min: 0, max: 2 }),
  /** k of k-means: only texts of one cluster are compared. Default: the square root of the number of rows. */
  clusters: integer({ optional: true, min: 1 }),
  /** Passes of k-means at most. Default 20. */
  iterations: integer({ default: 20, min: 1 }),
  /** Which of duplicates stays: the one farthest from its centroid (`hard`), the nearest (`easy`), or the first. Default `hard`. */
  keep: oneOf(['hard', 'easy', 'first'], { default: 'hard' }),
  /** Texts of one call of the embedder. Default 64. */
  batchSize: integer({ default: 64, min: 1, decisive: false }),
});
/** Options of `semDeDup`. */
export type SemDeDupOptions = Given<typeof semDeDupOptions>;

/** Ids of rows that are near-duplicates, each with the id of the row that is kept in its place. */
export interface DuplicatePlan {
  readonly keptFor: ReadonlyMap<string, string>;
}

/**
 * SemDeDup, semantic deduplication (arXiv 2303.09540 §3): texts are embedded and clustered by spherical k-means; in a cluster, sorted by similarity
 * to the centroid as `keep` says, text j is dropped if
 *
 *   max_{i < j} cos(e_i, e_j) > 1 − ε
 *
 * as in the authors' code: a text that was dropped itself still counts as one before. So of kept texts of a cluster no two are more similar than
 * 1 − ε. The plan holds all embeddings in memory while it is made (rows × dimension × 4 bytes) and keeps ids. Rows need ids that differ. Random
 * numbers are the pipeline's.
 *
 * @throws OptionError; RowError where the text is none; DataStepError for two rows with one id, and for an embedder that leaves
 *   texts out or gives vectors of different lengths or without a number
 */
export function semDeDup<R extends object = Row>(
  given: SemDeDupOptions,
): DataStep<R, R, DuplicatePlan> & { readonly passes: true } {
  const { embedder, text, epsilon, clusters, iterations, keep, batchSize } = semDeDupOptions.read(given);
  const name = 'semdedup';
  return {
    name,
    version: JSON.stringify(semDeDupOptions.settings(given)),
    passes: true,
    async plan(rows, context) {
      const ids: string[] = [];
      const vectors: Float32Array[] = [];
      let waiting: string[] = [];
      const embed = async (): Promise<void> => {
        if (waiting.length > 0)
          vectors.push(
            ...unitVectors(name, await embedder.embed(waiting), waiting.length, vectors.length, vectors[0]?.length),
          );
        waiting = [];
        context.signal.throwIfAborted();
        context.onProgress({ stage: `${name}: embeddings`, done: vectors.length });
      };
      for await (const row of rows) {
        ids.push(context.keyOf(row).id);
        waiting.push(textOf(row, text, ids.length));
        if (waiting.length === batchSize) await embed();
      }
      await embed();
      assertDistinct(name, ids);
      const onIteration = async (): Promise<void> => {
        await setImmediate();
        context.signal.throwIfAborted();
      };
      const { members, similarities } = await sphericalKMeans(vectors, {
        ...{ k: clusters ?? Math.max(1, Math.round(Math.sqrt(ids.length))), iterations, onIteration },
        random: context.random('k-means'),
      });
      const keptFor = new Map<string, string>();
      const sign = { hard: 1, easy: -1, first: 0 }[keep];
      for (const cluster of members) {
        await onIteration();
        // Stable, so that of equally similar texts the first stays.
        const sorted = [...cluster].sort((i, j) => sign * (similarities[i]! - similarities[j]!));
        for (const [place, j] of sorted.entries()) {
          const twin = sorted.slice(0, place).find((i) => innerProduct(vectors[i]!, vectors[j]!) > 1 - epsilon);
          if (twin !== undefined) keptFor.set(ids[j]!, keptFor.get(ids[twin]!) ?? ids[twin]!);
        }
      }
      return { keptFor };
    },
    async *apply(rows, context, { keptFor }) {
      for await (const row of rows) {
        if (keptFor.has(context.keyOf(row).id)) context.drop(row, 'semantic duplicate');
        else yield row;
      }
    },
  };
}
