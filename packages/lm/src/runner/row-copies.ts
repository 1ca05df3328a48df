import { type Tensor, tensor } from '@posttrain/core-tensor';
import type { KvCache } from '../model/kv-cache.js';
import { roundUpToPowerOfFour, roundUpToPowerOfTwo, roundUpToSize } from '../model/sizes.js';
import { type BlockHolder, type BlockPools, WINDOW_SLACK } from './block-pools.js';
import type { CacheGroup } from './cache-group.js';
import { BLOCK_SIZE } from './paged-steps.js';

/** Tokens of the smallest copy. */
const CAPACITY_STEP = 64;
/** A copy is at most this many times as long as its rows are now. */
const MOST_AHEAD = 4;
/** Tokens that a copy of layers with windows has room for behind them: then it is copied again. */
const WINDOW_AHEAD = 128;

interface CopiedRow extends BlockHolder {
  /** Positions that it has in the cache. */
  readonly stored: number;
  /** Tokens that its blocks hold; those after them are in the copy only. */
  written: number;
}

interface Copied<Row> {
  readonly rows: (Row | undefined)[];
  /** By group of layers. */
  readonly parts: readonly CopiedPart[];
  cache: KvCache;
}

/** Of a group of layers that have the same tokens of every row. */
interface CopiedPart {
  readonly group: CacheGroup;
  readonly capacity: number;
  /** The position that each row begins with. */
  readonly starts: number[];
}

/** Where rows of a step are in a copy. */
export interface FoundCopy {
  /** Rows that the copy has, in use or not. */
  readonly count: number;
  readonly places: readonly number[];
  readonly cache: KvCache;
  /** int32 [count]: tokens that each row has in layers with windows, where those have less than the others. */
  readonly windowLengths: Tensor | undefined;
}

/**
 * Contiguous (dense) copies of the key/value cache of rows that decode a token at a time: attention reads them at twice the
 * speed of blocks. Rows are copied from their blocks when they come for the second time in a row, or
 * with others that are in a copy already, whose free places they take; a copy is used for as long as more than half of
 * it is. New tokens are written to the copy only, and to the blocks when somebody will read them there.
 */
export class RowCopies<Row extends CopiedRow> {
  readonly #memory: BlockPools;
  readonly #maxTokens: number;
  #last = new Set<Row>();
  #copied: Copied<Row> | undefined;
  /** Write-back: tokens that the copy has and the blocks lack, and where they go. */
  #owed: { readonly place: number; readonly start: number; readonly count: number; readonly slots: number[][] }[] = [];

  /** A copy takes at most the room of `maxTokens` tokens. */
  constructor(memory: BlockPools, maxTokens: number) {
    this.#memory = memory;
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
    const hasRoom = old?.rows.length === count && old.parts[0]!.capacity >= needed;
    if (hasRoom) {
      const added = rows.filter((row) => !old.rows.includes(row));
      if (added.length > 0 && 2 * added.length <= rows.length) await this.#add(old, rows, added);
      const places = rows.map((row) => old.rows.indexOf(row));
      if (!places.includes(-1) && this.#reaches(old, rows, places)) return this.#found(old, rows, places);
    }
    if (!isKnown) {
      for (const row of rows) this.#drop(row);
      return undefined;
    }
    const least = roundUpToSize(needed, CAPACITY_STEP);
    const ample = roundUpToSize(Math.max(needed, Math.min(room, MOST_AHEAD * needed)), CAPACITY_STEP);
    const capacity = hasRoom ? old.parts[0]!.capacity : count * ample <= this.#maxTokens ? ample : least;
    if (count * capacity > this.#maxTokens) {
      for (const row of rows) this.#drop(row);
      return undefined;
    }
    for (const row of old?.rows ?? []) if (row) this.settle(row);
    await this.writeBack();
    this.#copied = undefined;
    const parts = this.#memory.groups.map((group): CopiedPart => {
      const own = group === this.#memory.windowed ? Math.min(capacity, this.#windowCapacity) : capacity;
      return { group, capacity: own, starts: startsOf(group, rows, count) };
    });
    const olds = hasRoom ? this.#memory.parts(old.cache) : [];
    const caches: KvCache[] = [];
    for (const [i, { group, capacity: own }] of parts.entries()) {
      const table = group.table(idsOf(rows), own / BLOCK_SIZE);
      const { steps, pools, heads } = group;
      const isEmpty = group.layers.length === 0;
      const { copy } = isEmpty
        ? { copy: pools }
        : olds[i]
          ? await steps.copyFromPoolsInto(pools, heads, table, olds[i])
          : await steps.copyFromPools(pools, heads, table);
      caches.push(copy);
    }
    const cache = this.#memory.merged(caches);
    this.#copied = { rows: Array.from({ length: count }, (_, i) => rows[i]), parts, cache };
    return this.#found(
      this.#copied,
      rows,
      rows.map((_, i) => i),
    );
  }

  get #windowCapacity(): number {
    return roundUpToSize(this.#memory.window! + WINDOW_SLACK + BLOCK_SIZE + WINDOW_AHEAD, CAPACITY_STEP);
  }

  /** Whether the copy has room for one more token of every row, in all layers. */
  #reaches({ parts }: Copied<Row>, rows: readonly Row[], places: readonly number[]): boolean {
    return parts.every(({ capacity, starts }) =>
      rows.every(({ stored }, i) => stored + 1 - starts[places[i]!]! <= capacity),
    );
  }

  #found({ rows: all, parts, cache }: Copied<Row>, rows: readonly Row[], places: readonly number[]): FoundCopy {
    const count = all.length;
    const { starts } = parts[1] ?? {};
    const lengths = new Int32Array(count);
    if (starts)
      rows.forEach(({ stored }, i) => {
        lengths[places[i]!] = stored - starts[places[i]!]!;
      });
    return { count, places, cache, windowLengths: starts && tensor(lengths, [count]) };
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
    const places = chosen.map((row) => copied.rows.indexOf(row));
    const caches: KvCache[] = [];
    for (const [i, cache] of this.#memory.parts(copied.cache).entries()) {
      const { group, capacity, starts } = copied.parts[i]!;
      for (const [k, { id }] of chosen.entries()) starts[places[k]!] = group.blocks.firstKept(id);
      if (group.layers.length === 0) {
        caches.push(cache);
        continue;
      }
      const table = group.table(idsOf(chosen), capacity / BLOCK_SIZE);
      const to = tensor(Int32Array.from(places));
      caches.push((await group.steps.copyRowsFromPools(group.pools, group.heads, table, to, cache)).copy);
    }
    copied.cache = this.#memory.merged(caches);
  }

  /** The copy as the step that used it has left it. */
  keep(cache: KvCache): void {
    this.#copied!.cache = cache;
  }

  /** Sees to it that the row's blocks hold all its tokens after the next `writeBack`. */
  settle(row: Row): void {
    const start = row.written;
    if (start === row.stored) return;
    const count = row.stored - start;
    const slots = this.#memory.groups.map(({ blocks }) => blocks.slots(row.id, start, count));
    this.#owed.push({ place: this.#copied!.rows.indexOf(row), start, count, slots });
    row.written = row.stored;
  }

  /** Writes what is owed to the blocks. Before anything reads them, and before a block that was given back is used again. */
  async writeBack(): Promise<void> {
    const owed = this.#owed;
    if (owed.length === 0) return;
    this.#owed = [];
    const { cache, parts } = this.#copied!;
    const total = owed.reduce((sum, { count }) => sum + count, 0);
    for (const [g, copy] of this.#memory.parts(cache).entries()) {
      const { group, capacity, starts } = parts[g]!;
      if (group.layers.length === 0) continue;
      // What fills the lists up goes where nobody looks.
      const [from, to] = [new Int32Array(roundUpToPowerOfFour(total)), new Int32Array(roundUpToPowerOfFour(total))];
      let n = 0;
      for (const { place, start, count, slots } of owed) {
        to.set(slots[g]!, n);
        const first = place * group.heads * capacity + start - starts[place]!;
        for (let i = 0; i < count; i++) from[n++] = first + i;
      }
      const written = await group.steps.copyToPools(group.pools, group.heads, copy, tensor(from), tensor(to));
      group.pools = written.cache;
    }
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

const idsOf = (rows: readonly BlockHolder[]): number[] => rows.map(({ id }) => id);

const startsOf = ({ blocks }: CacheGroup, rows: readonly BlockHolder[], count: number): number[] =>
  Array.from({ length: count }, (_, i) => (rows[i] ? blocks.firstKept(rows[i].id) : 0));
