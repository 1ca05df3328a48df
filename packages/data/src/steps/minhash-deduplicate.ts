import { custom, type Given, integer, options } from '@posttrain/interfaces';
import { hashWordShingles, minHasher } from '../dedup/minhash.js';
import { isMarked, MarkBits, Places, placesOf } from '../dedup/row-marks.js';
import { simplifyText } from '../dedup/shingles.js';
import { UnionFind } from '../dedup/union-find.js';
import { DataStepError, RowError } from '../errors.js';
import { kindOf, ownValue, type Row } from '../rows.js';
import { compareRecords } from '../spill/sort-records.js';
import { SortedRecords } from '../spill/sorted-records.js';
import type { DataStep } from '../step.js';

/** Where the text of a row is. */
export const textOption = custom<string | ((row: never) => string)>()(
  'a column or a function of the row',
  (value) => typeof value === 'string' || typeof value === 'function',
  { default: 'text' },
);

const minhashOptions = options('minhashDeduplicate', {
  /** Column of the text, or a function of the row. Default `"text"`. */
  text: textOption,
  /** Words of a shingle. Default 5. */
  ngrams: integer({ default: 5, min: 1 }),
  /** Bands of a signature: texts are near-duplicates that agree in all rows of one. Default 14. */
  bands: integer({ default: 14, min: 1, max: 10_000 }),
  /** Minima of a band. Default 8. */
  rows: integer({ default: 8, min: 1, max: 10_000 }),
  /** Seed of the hash functions. Default 1. */
  seed: integer({ default: 1, min: 0, max: 2 ** 32 - 1 }),
  /** Bits of a minimum: 64 or 32. Default 64. */
  precision: custom<32 | 64>()('32 or 64', (value) => value === 32 || value === 64, { default: 64 }),
  /** Of each cluster the row with the highest score is kept, of equal ones the first. A function with `settings` is known by them. Default: the first. */
  score: custom<(row: never) => number>()('a function of the row', (value) => typeof value === 'function', {
    optional: true,
  }),
  /** Memory for the bands of signatures, which go to disk beyond it. Default 256 MiB. */
  memoryBytes: integer({ default: 256 * 2 ** 20, min: 2 ** 16, decisive: false }),
});
/** Options of `minhashDeduplicate`. */
export type MinhashDeduplicateOptions = Given<typeof minhashOptions>;

/** Rows by their places among those of all shards, a bit each: near-duplicates of one that is kept, and those with fewer words than a shingle. */
export interface NearDuplicates {
  readonly duplicates: Uint8Array;
  readonly short: Uint8Array;
  /** The rank of each row, of several shards. */
  readonly ranks?: Uint32Array;
}

const TOO_SHORT = 'fewer words than a shingle has: compared with nothing';

/**
 * Near-deduplication by MinHash with locality-sensitive hashing (arXiv 2107.06499, with datatrove's defaults and formulas): each text has a
 * signature of bands × rows minima over its word n-grams; texts that agree in all rows of a band are joined (union-find), and of each
 * cluster one is kept. With Jaccard similarity s two texts are joined directly with probability 1 − (1 − s^rows)^bands: half at 0.72 with
 * 14 × 8.
 *
 * Two passes: the first keeps four bytes a row (and eight of a score), its plan two bits; bands are sorted in `memoryBytes` and beyond it on disk. A row with fewer
 * words than a shingle is kept and counted as a warning.
 *
 * @throws OptionError; RowError where the text is none; DataStepError for a score that is no number
 */
export function minhashDeduplicate<R extends object = Row>(
  given: MinhashDeduplicateOptions = {},
): DataStep<R, R, NearDuplicates> & { readonly passes: true } {
  const settings = minhashOptions.read(given);
  const { text, ngrams, bands, rows: bandRows, seed, precision, score, memoryBytes } = settings;
  const name = 'minhash deduplicate';

  return {
    name,
    version: JSON.stringify(minhashOptions.settings(given)),
    passes: true,
    async plan(rows, context) {
      const hasher = minHasher(bands * bandRows, seed, precision);
      const bandBytes = (bandRows * precision) / 8;
      const records = new SortedRecords({
        recordBytes: bandBytes + 6,
        memoryBytes,
        folder: () => context.scratch(),
      });
      const record = Buffer.alloc(bandBytes + 6);
      const clusters = new UnionFind();
      const places = new Places(context.shard);
      const short = new MarkBits();
      const scores: number[] = [];
      for await (const row of rows) {
        const member = clusters.add();
        places.next(row, context);
        if (score !== undefined) scores.push(scoreOf(name, score as (row: object) => number, row, places.count));
        const hashes = hashWordShingles(simplifyText(textOf(row, text, places.count)), ngrams);
        if (hashes.length === 0) {
          short.set(member);
          continue;
        }
        const signature = hasher.signature(hashes);
        record.writeUInt32BE(member, bandBytes + 2);
        for (let band = 0; band < bands; band++) {
          // The minima first, which sort faster than the few numbers of bands.
          signature.copy(record, 0, band * bandBytes, (band + 1) * bandBytes);
          record.writeUInt16BE(band, bandBytes);
          const full = records.add(record);
          if (full !== undefined) await full;
        }
        if (places.count % 1000 === 0) context.onProgress({ stage: `${name}: signatures`, done: places.count });
      }
      await joinCandidates(records, bandBytes + 2, clusters);
      const ranks = places.ranks();
      return {
        duplicates: duplicates(clusters, scores).toArray(places.count),
        short: short.toArray(places.count),
        ...(ranks && { ranks }),
      };
    },
    async *apply(rows, context, plan) {
      const next = placesOf(plan.ranks, context.shard);
      for await (const row of rows) {
        const place = next();
        if (isMarked(plan.duplicates, place)) {
          context.drop(row, 'near-duplicate');
          continue;
        }
        if (isMarked(plan.short, place)) context.warn(TOO_SHORT);
        yield row;
      }
    },
  };
}

/** Joins the rows of each run of records that are equal in their first `keyBytes`. */
async function joinCandidates(records: SortedRecords, keyBytes: number, clusters: UnionFind): Promise<void> {
  const key = Buffer.alloc(keyBytes);
  let first: number | undefined;
  for await (const batch of records.batches()) {
    for (let at = 0; at < batch.length; at += keyBytes + 4) {
      const member = batch.readUInt32BE(at + keyBytes);
      if (first !== undefined && compareRecords(batch, at, key, 0, keyBytes) === 0) clusters.union(first, member);
      else {
        batch.copy(key, 0, at, at + keyBytes);
        first = member;
      }
    }
  }
}

/** All members of clusters but the one of each that is kept. */
function duplicates(clusters: UnionFind, scores: readonly number[]): MarkBits {
  const bits = new MarkBits();
  // Of equal scores, and without any, the least member of a cluster, which is its root.
  const best = new Uint32Array(scores.length).map((_, member) => member);
  for (let member = 0; member < scores.length; member++) {
    const root = clusters.find(member);
    if (scores[member]! > scores[best[root]!]!) best[root] = member;
  }
  for (let member = 0; member < clusters.size; member++) {
    const root = clusters.find(member);
    if ((best[root] ?? root) !== member) bits.set(member);
  }
  return bits;
}

/** Throws where two rows have one id, so that one could be dropped for the other. */
export function assertDistinct(step: string, ids: readonly string[]): void {
  if (new Set(ids).size === ids.length) return;
  throw new DataStepError(
    step,
    ids.length,
    'two rows have one id: give parts of a row names of their own, context.derive(made, from, part).',
  );
}

/** @throws RowError where the text is none */
export function textOf(row: object, text: string | ((row: never) => string), rowNumber: number): string {
  const value: unknown = typeof text === 'string' ? ownValue(row, text) : (text as (row: object) => unknown)(row);
  if (typeof value === 'string') return value;
  const field = typeof text === 'string' ? text : 'text';
  throw new RowError(
    rowNumber,
    field,
    `must be a text to be compared, got ${kindOf(value)}; name its column with "text".`,
  );
}

function scoreOf(step: string, score: (row: object) => number, row: object, rowNumber: number): number {
  const value: unknown = score(row);
  if (typeof value === 'number' && !Number.isNaN(value)) return value;
  throw new DataStepError(step, rowNumber, `"score" must give a number, got ${kindOf(value)}.`);
}
