import { type Tensor, tensor } from '@posttrain/core-tensor';
import { type KvCache, type KvCacheDtype, mapCache, type WindowedInput } from '../model/kv-cache.js';
import type { Network } from '../model/network.js';
import { roundUpToSize } from '../model/sizes.js';
import { CacheGroup, FIRST_TOKENS } from './cache-group.js';
import { BLOCK_SIZE } from './paged-steps.js';

/** What has blocks. */
export interface BlockHolder {
  /** Its name in the blocks. */
  readonly id: number;
}

/** Tokens that layers with a sliding window keep beyond it: a sequence that was extended may be cut by as many. */
export const WINDOW_SLACK = 64;

/**
 * The blocks of a cache, and the pools that hold what is in them. Layers that see all of a sequence have all of it; those with sliding
 * windows are a group of their own, whose blocks a sequence gives back as the window leaves them behind.
 */
export class BlockPools {
  readonly whole: CacheGroup;
  readonly windowed: CacheGroup | undefined;
  /** The widest window of the layers that have one; undefined where all have all. */
  readonly window: number | undefined;
  readonly maxBlocks: number;

  readonly dtype: KvCacheDtype;

  constructor(network: Network, maxBlocks: number, dtype: KvCacheDtype = 'float32') {
    const { windows } = network;
    const window = Math.max(0, ...windows.map((size) => size ?? 0));
    // A window that no sequence outgrows saves nothing.
    const isUseful = window > 0 && window + WINDOW_SLACK + BLOCK_SIZE < network.config.maxPositionEmbeddings;
    const of = (isIn: boolean) =>
      windows.flatMap((size, layer) => ((isUseful && size !== undefined) === isIn ? [layer] : []));
    this.maxBlocks = maxBlocks;
    this.dtype = dtype;
    this.window = isUseful ? window : undefined;
    this.whole = new CacheGroup(network, { layers: of(false), maxBlocks, dtype });
    // A sequence never has more blocks there, so that its room is there whenever that of the others is.
    this.windowed = isUseful ? new CacheGroup(network, { layers: of(true), maxBlocks, dtype }) : undefined;
  }

  /** Where layers with a window have a part of a sequence only, they and the others. */
  get groups(): readonly CacheGroup[] {
    return this.windowed ? [this.whole, this.windowed] : [this.whole];
  }

  /** Whether no layer attends: blocks are counted, and hold nothing. */
  get isEmpty(): boolean {
    return this.groups.every(({ layers }) => layers.length === 0);
  }

  /** Whether the pools have the size that they begin with, or more. */
  get hasBegun(): boolean {
    return this.whole.blocks.blocks >= Math.min(this.maxBlocks, FIRST_TOKENS / BLOCK_SIZE);
  }

  /** Bytes of all pools that have been made. */
  get bytes(): number {
    return this.groups.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  create(): number {
    const [id] = this.groups.map(({ blocks }) => blocks.create());
    return id!;
  }

  fork(id: number, length?: number): number {
    // First those that may refuse.
    const [fork] = this.groups.toReversed().map(({ blocks }) => blocks.fork(id, length));
    return fork!;
  }

  truncate(id: number, length: number): void {
    for (const { blocks } of this.groups.toReversed()) blocks.truncate(id, length);
  }

  free(id: number): void {
    for (const { blocks } of this.groups) blocks.free(id);
  }

  /** Whether a sequence of `length` positions that begins as this one has all that it sees. */
  reaches(id: number, length: number): boolean {
    const kept = this.windowed?.blocks.firstKept(id) ?? 0;
    return kept <= Math.max(0, length - (this.window ?? 0) + 1);
  }

  /** What a step reads and writes, layer by layer; with an earlier pass, that pass's pools behind its own. */
  poolsFor(earlierPass: boolean): KvCache {
    const own = this.merged(this.groups.map(({ pools }) => pools));
    if (!earlierPass) return own;
    const earlier = this.merged(this.groups.map((group) => group.earlier));
    return mapCache(own, (tensors, key) => [...tensors, ...earlier[key]!]);
  }

  /** What a step that `poolsFor` was donated to has given. */
  put(cache: KvCache, earlierPass: boolean): void {
    const layers = earlierPass ? cache.keys.length / 2 : cache.keys.length;
    for (const [i, pools] of this.parts(cache).entries()) this.groups[i]!.pools = pools;
    if (!earlierPass) return;
    for (const [i, pools] of this.parts(cache, layers).entries()) this.groups[i]!.earlier = pools;
  }

  /** Caches of the groups as one in the order of the layers. */
  merged(caches: readonly KvCache[]): KvCache {
    if (!this.windowed) return caches[0]!;
    return mapCache(caches[0]!, (_, key) => {
      const merged: Tensor[] = [];
      for (const [g, { layers }] of this.groups.entries()) {
        for (const [i, layer] of layers.entries()) merged[layer] = caches[g]![key]![i]!;
      }
      return merged;
    });
  }

  /** The inverse of `merged`, from layer `from` of the cache on. */
  parts(cache: KvCache, from = 0): KvCache[] {
    return this.groups.map(({ layers }) => mapCache(cache, (tensors) => layers.map((layer) => tensors[from + layer]!)));
  }

  /**
   * Room for the tokens of a pass in layers with windows, once that of the others is there: those that no token sees any more make place.
   */
  async extendWindowed(pieces: readonly { readonly id: number; readonly count: number }[]): Promise<void> {
    const { windowed, window } = this;
    if (!windowed) return;
    const { blocks } = windowed;
    for (const { id } of pieces) blocks.dropBefore(id, blocks.length(id) - window! + 1 - WINDOW_SLACK);
    const needed = pieces.reduce((sum, { id, count }) => sum + blocks.needed(id, count), 0);
    if (needed > blocks.freeBlocks) await windowed.grow(blocks.blocks + needed - blocks.freeBlocks);
    for (const { id, count } of pieces) windowed.extend(id, count);
    await windowed.copy();
  }

  /**
   * What layers with windows read of `places` of a pass with `count` rows: those that have `counts` new tokens each, padded to `width`.
   */
  windowedInput(
    rows: readonly (BlockHolder & { readonly stored: number })[],
    counts: readonly number[],
    [count, width]: readonly [number, number],
  ): WindowedInput | undefined {
    const { windowed } = this;
    if (!windowed) return undefined;
    const lengths = new Int32Array(count);
    const slots = new Int32Array(count * width);
    let most = 1;
    rows.forEach(({ id, stored }, i) => {
      lengths[i] = stored - windowed.blocks.firstKept(id);
      slots.set(windowed.blocks.slots(id, stored, counts[i]!), i * width);
      most = Math.max(most, Math.ceil((lengths[i]! + counts[i]!) / BLOCK_SIZE));
    });
    const ids = rows.map(({ id }) => id);
    return {
      lengths: tensor(lengths, [count]),
      slots: tensor(slots, [count, width]),
      table: windowed.table(ids, roundUpToSize(most, TABLE_STEP)),
    };
  }

  /** Tokens of a sequence that go to other places before anything reads or writes blocks again: see `move`. */
  oweMove({ id }: BlockHolder, from: readonly number[], to: readonly number[]): void {
    const at = ({ blocks }: CacheGroup, positions: readonly number[]) =>
      positions.flatMap((position) => blocks.slots(id, position, 1));
    for (const group of this.groups) group.oweMove(at(group, from), at(group, to));
  }

  /** Does what `oweMove` was told. */
  async move(): Promise<void> {
    for (const group of this.groups) await group.move();
  }
}

export const TABLE_STEP = 64 / BLOCK_SIZE;
