import { tensor } from '@posttrain/core-tensor';
import type { KvCache } from '../model/network.js';
import { roundUpToPowerOfFour, roundUpToPowerOfTwo, roundUpToSize } from '../model/sizes.js';
import type { BlockHolder, BlockPools } from './block-pools.js';
import { BLOCK_SIZE } from './paged-steps.js';

/** Tokens of the smallest copy. */
const CAPACITY_STEP = 64;
/** A copy is at most this many times as long as its rows are now. */
const MOST_AHEAD = 4;

interface CopiedRow extends BlockHolder {
  /** Positions that it has in the cache. */
  readonly stored: number;
  /** Tokens that its blocks hold; those after them are in the copy only. */
  written: number;
}

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
 * Contiguous (dense) copies of the key/value cache of rows that decode a token at a time: attention reads them at twice the
 * speed of blocks. Rows are copied from their blocks when they come for the second time in a row, or
 * with others that are in a copy already, whose free places they take; a copy is used for as long as more than half of
 * it is. New tokens are written to the copy only, and to the blocks when somebody will read them there.
 */
export class RowCopies<Row extends CopiedRow> {
  readonly #memory: BlockPools;
  readonly #heads: number;
  readonly #maxTokens: number;
  #last = new Set<Row>();
  #copied: Copied<Row> | undefined;
  /** Write-back: tokens that the copy has and the blocks lack, and where they go. */
  #owed: { readonly place: number; readonly start: number; readonly slots: readonly number[] }[] = [];

  /** A copy takes at most the room of `maxTokens` tokens. */
  constructor(memory: BlockPools, maxTokens: number) {
    this.#memory = memory;
    this.#heads = memory.heads;
    this.#maxTokens = maxTokens;
  }

  /**
   * The copy to extend the rows in, by a token each; undefined where the blocks had better be read. `room`: how long the
   * rows will become, if that is known; memory that is new costs more than memory that is too large.
   */
  async find(rows: readonly Row[], room = 0): Promise<FoundCopy | undefined> {
    const isKnown = rows.every((row) => this.#last.has(row));
    this.#last = new Set(rows);
    const count = roundUpToPowerOfTwo(rows.length);
    const needed = Math.max(...rows.map(({ stored }) => stored + 1));
    const old = this.#copied;
    if (old && old.rows.length === count && old.capacity >= needed) {
      const added = rows.filter((row) => !old.rows.includes(row));
      if (added.length > 0 && 2 * added.length <= rows.length) await this.#add(old, rows, added);
      const places = rows.map((row) => old.rows.indexOf(row));
      if (!places.includes(-1)) return { count, places, cache: old.cache };
    }
    if (!isKnown) {
      for (const row of rows) this.#drop(row);
      return undefined;
    }
    const isReusable = old?.rows.length === count && old.capacity >= needed;
    const least = roundUpToSize(needed, CAPACITY_STEP);
    const ample = roundUpToSize(Math.max(needed, Math.min(room, MOST_AHEAD * needed)), CAPACITY_STEP);
    const capacity = isReusable ? old.capacity : count * ample <= this.#maxTokens ? ample : least;
    if (count * capacity > this.#maxTokens) {
      for (const row of rows) this.#drop(row);
      return undefined;
    }
    for (const row of old?.rows ?? []) if (row) this.settle(row);
    await this.writeBack();
    const table = this.#memory.table(rows, capacity / BLOCK_SIZE);
    const { pools } = this.#memory;
    this.#copied = undefined;
    const { copy } = isReusable
      ? await this.#memory.steps.copyFromPoolsInto(pools, this.#heads, table, old.cache)
      : await this.#memory.steps.copyFromPools(pools, this.#heads, table);
    this.#copied = { rows: Array.from({ length: count }, (_, i) => rows[i]), capacity, cache: copy };
    return { count, places: rows.map((_, i) => i), cache: copy };
  }

  /** Copies rows to places that none of `rows` has: unused ones first. */
  async #add(copied: Copied<Row>, rows: readonly Row[], added: readonly Row[]): Promise<void> {
    const at = [...copied.rows.keys()].filter((place) => {
      const row = copied.rows[place];
      return row === undefined || !rows.includes(row);
    });
    at.sort((a, b) => Number(copied.rows[a] !== undefined) - Number(copied.rows[b] !== undefined) || a - b);
    for (const place of at.slice(0, added.length)) {
      const row = copied.rows[place];
      if (row) this.#drop(row);
    }
    await this.writeBack();
    for (const [i, row] of added.entries()) copied.rows[at[i]!] = row;
    // So that there are few sizes, the last row is copied again.
    const chosen = Array.from({ length: roundUpToPowerOfFour(added.length) }, (_, i) => added[i] ?? added.at(-1)!);
    const places = tensor(Int32Array.from(chosen, (row) => copied.rows.indexOf(row)));
    const table = this.#memory.table(chosen, copied.capacity / BLOCK_SIZE);
    const { copy } = await this.#memory.steps.copyRowsFromPools(
      this.#memory.pools,
      this.#heads,
      table,
      places,
      copied.cache,
    );
    copied.cache = copy;
  }

  /** The copy as the step that used it has left it. */
  keep(cache: KvCache): void {
    this.#copied!.cache = cache;
  }

  /** Sees to it that the row's blocks hold all its tokens after the next `writeBack`. */
  settle(row: Row): void {
    const start = row.written;
    if (start === row.stored) return;
    const slots = this.#memory.slots(row, start, row.stored - start);
    this.#owed.push({ place: this.#copied!.rows.indexOf(row), start, slots });
    row.written = row.stored;
  }

  /** Writes what is owed to the blocks. Before anything reads them, and before a block that was given back is used again. */
  async writeBack(): Promise<void> {
    if (this.#owed.length === 0) return;
    const { cache, capacity } = this.#copied!;
    const total = this.#owed.reduce((sum, { slots }) => sum + slots.length, 0);
    // What fills the lists up goes where nobody looks.
    const [from, to] = [new Int32Array(roundUpToPowerOfFour(total)), new Int32Array(roundUpToPowerOfFour(total))];
    let n = 0;
    for (const { place, start, slots } of this.#owed) {
      to.set(slots, n);
      for (let i = 0; i < slots.length; i++) from[n++] = place * this.#heads * capacity + start + i;
    }
    this.#owed = [];
    const written = await this.#memory.steps.copyToPools(
      this.#memory.pools,
      this.#heads,
      cache,
      tensor(from),
      tensor(to),
    );
    this.#memory.pools = written.cache;
  }

  /** The row goes on in its blocks. */
  forget(row: Row): void {
    this.#last.delete(row);
    this.#drop(row);
  }

  /** Nobody will read the row again. */
  discard(row: Row): void {
    row.written = row.stored;
    this.forget(row);
  }

  /** Forgets all rows and what is owed for them. */
  clear(): void {
    this.#last.clear();
    this.#copied?.rows.fill(undefined);
    this.#owed = [];
  }

  #drop(row: Row): void {
    const at = this.#copied?.rows.indexOf(row) ?? -1;
    if (at < 0) return;
    this.settle(row);
    this.#copied!.rows[at] = undefined;
  }
}
