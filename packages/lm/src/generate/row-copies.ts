import { type Tensor, tensor } from '@posttrain/core-tensor';
import type { KvCache } from '../model/network.js';
import { roundUpToPowerOfTwo, roundUpToSize } from '../model/sizes.js';
import { BLOCK_SIZE, copyFromPools, copyFromPoolsInto, copyRowsFromPools } from './paged-steps.js';

/** Tokens of the smallest copy. */
const CAPACITY_STEP = 64;
/** A copy is at most this many times as long as its rows are now. */
const MOST_AHEAD = 4;

/** Names of the rows' blocks, int32 [b, blocks]. */
type TableOf<Row> = (rows: readonly Row[], blocks: number) => Tensor;

interface Copied<Row> {
  readonly rows: (Row | undefined)[];
  readonly capacity: number;
  cache: KvCache;
}

/** Where rows of a step are in a copy. */
export interface FoundCopy {
  /** Rows that the copy has, in use or not. */
  readonly count: number;
  readonly places: readonly number[];
  readonly cache: KvCache;
}

/**
 * The keys and values of rows that are extended a token at a time, one behind the other instead of in blocks, where
 * attention reads them at twice the speed. Rows are copied from their blocks when they come for the second time in a row, or
 * with others that are in a copy already, whose free places they take; a copy is used for as long as more than half of
 * it is.
 */
export class RowCopies<Row extends { readonly length: number }> {
  readonly #heads: number;
  readonly #maxTokens: number;
  #last = new Set<Row>();
  #copied: Copied<Row> | undefined;

  /** A copy takes at most the room of `maxTokens` tokens. */
  constructor(heads: number, maxTokens: number) {
    this.#heads = heads;
    this.#maxTokens = maxTokens;
  }

  /**
   * The copy to extend the rows in, by a token each; undefined where the blocks had better be read. `room`: how long the
   * rows will become, if that is known; memory that is new costs more than memory that is too large.
   */
  async find(rows: readonly Row[], pools: KvCache, tableOf: TableOf<Row>, room = 0): Promise<FoundCopy | undefined> {
    const isKnown = rows.every((row) => this.#last.has(row));
    this.#last = new Set(rows);
    const count = roundUpToPowerOfTwo(rows.length);
    const needed = Math.max(...rows.map(({ length }) => length + 1));
    const old = this.#copied;
    if (old && old.rows.length === count && old.capacity >= needed) {
      const added = rows.filter((row) => !old.rows.includes(row));
      if (added.length > 0 && 2 * added.length <= rows.length) await this.#add(old, rows, added, pools, tableOf);
      const places = rows.map((row) => old.rows.indexOf(row));
      if (!places.includes(-1)) return { count, places, cache: old.cache };
    }
    if (!isKnown) {
      for (const row of rows) this.#dropCopy(row);
      return undefined;
    }
    const isReusable = old?.rows.length === count && old.capacity >= needed;
    const least = roundUpToSize(needed, CAPACITY_STEP);
    const ample = roundUpToSize(Math.max(needed, Math.min(room, MOST_AHEAD * needed)), CAPACITY_STEP);
    const capacity = isReusable ? old.capacity : count * ample <= this.#maxTokens ? ample : least;
    if (count * capacity > this.#maxTokens) return undefined;
    const table = tableOf(rows, capacity / BLOCK_SIZE);
    this.#copied = undefined;
    const { copy } = isReusable
      ? await copyFromPoolsInto(pools, this.#heads, table, old.cache)
      : await copyFromPools(pools, this.#heads, table);
    this.#copied = { rows: Array.from({ length: count }, (_, i) => rows[i]), capacity, cache: copy };
    return { count, places: rows.map((_, i) => i), cache: copy };
  }

  /** Copies rows to places that none of `rows` has: unused ones first. */
  async #add(
    copied: Copied<Row>,
    rows: readonly Row[],
    added: readonly Row[],
    pools: KvCache,
    tableOf: TableOf<Row>,
  ): Promise<void> {
    const at = [...copied.rows.keys()].filter((place) => {
      const row = copied.rows[place];
      return row === undefined || !rows.includes(row);
    });
    at.sort((a, b) => Number(copied.rows[a] !== undefined) - Number(copied.rows[b] !== undefined) || a - b);
    for (const [i, row] of added.entries()) copied.rows[at[i]!] = row;
    // So that there are few sizes, the last row is copied again.
    const padded = Array.from({ length: roundUpToPowerOfTwo(added.length) }, (_, i) => Math.min(i, added.length - 1));
    const chosen = padded.map((i) => added[i]!);
    const places = tensor(Int32Array.from(padded, (i) => at[i]!));
    const table = tableOf(chosen, copied.capacity / BLOCK_SIZE);
    const { copy } = await copyRowsFromPools(pools, this.#heads, table, places, copied.cache);
    copied.cache = copy;
  }

  /** The copy as the step that used it has left it. */
  keep(cache: KvCache): void {
    this.#copied!.cache = cache;
  }

  /** The row has changed in its blocks only. */
  forget(row: Row): void {
    this.#last.delete(row);
    this.#dropCopy(row);
  }

  #dropCopy(row: Row): void {
    const at = this.#copied?.rows.indexOf(row) ?? -1;
    if (at >= 0) this.#copied!.rows[at] = undefined;
  }
}
