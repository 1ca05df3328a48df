import { type BlockCopy, KvBlocks, type Tensor, tensor } from '@posttrain/core-tensor';
import { type KvCache, type KvCacheDtype, tensorsOf } from '../model/kv-cache.js';
import type { Network } from '../model/network.js';
import { roundUpToPowerOfTwo } from '../model/sizes.js';
import { BLOCK_SIZE, type PoolSteps, poolSteps } from './paged-steps.js';

/** The pools begin with room for this many tokens, and double as they must. */
export const FIRST_TOKENS = 1024;

/** The layers of a cache that have the same tokens of every sequence: their blocks, and the pools that hold what is in them. */
export class CacheGroup {
  readonly blocks = new KvBlocks({ blocks: 2, blockSize: BLOCK_SIZE });
  /** By index among the layers that have keys and values. */
  readonly layers: readonly number[];
  readonly maxBlocks: number;
  readonly #network: Network;
  readonly #dtype: KvCacheDtype;
  /** Slots of tokens to copy, and where to. */
  #moves: { readonly from: number[]; readonly to: number[] } = { from: [], to: [] };
  /** Blocks to copy before anything writes to them. */
  #copies: BlockCopy[] = [];
  #pools: KvCache | undefined;
  /** Of earlier passes (`Adapter.earlierPass`): the same blocks again, made when they are first asked for. */
  #earlier: KvCache | undefined;

  constructor(
    network: Network,
    {
      layers,
      maxBlocks,
      dtype,
    }: { readonly layers: readonly number[]; readonly maxBlocks: number; readonly dtype: KvCacheDtype },
  ) {
    this.#network = network;
    this.#dtype = dtype;
    this.layers = layers;
    this.maxBlocks = maxBlocks;
  }

  /** What moves the blocks about, on the network's engine. */
  get steps(): PoolSteps {
    return poolSteps(this.#network.engine);
  }

  get heads(): number {
    return this.#network.kvHeads;
  }

  /** Bytes of the pools that have been made. */
  get bytes(): number {
    const all = [this.#pools, this.#earlier].flatMap((pools) => (pools ? tensorsOf(pools) : []));
    return all.reduce((sum, { size, dtype }) => sum + (dtype === 'uint8' ? 1 : 4) * size, 0);
  }

  /** The pools: made when they are first asked for, and set to what each call that they were donated to has given. */
  get pools(): KvCache {
    this.#pools ??= this.#network.newPools(this.blocks.blocks * BLOCK_SIZE, this.layers, this.#dtype);
    return this.#pools;
  }

  set pools(pools: KvCache) {
    this.#pools = pools;
  }

  get earlier(): KvCache {
    this.#earlier ??= this.#network.newPools(this.blocks.blocks * BLOCK_SIZE, this.layers, this.#dtype);
    return this.#earlier;
  }

  set earlier(pools: KvCache) {
    this.#earlier = pools;
  }

  /** The first `width` blocks of sequences, int32 [n, width], with n rounded up to a power of two. */
  table(ids: readonly number[], width: number): Tensor {
    const count = roundUpToPowerOfTwo(ids.length);
    const table = new Int32Array(count * width);
    table.set(this.blocks.table(ids, width));
    return tensor(table, [count, width]);
  }

  /** Room for `count` more tokens of a sequence, which must be there; what is to be copied for it is done by `copy`. */
  extend(id: number, count: number): void {
    this.#copies.push(...this.blocks.extend(id, count));
  }

  /** Tokens that go to other slots before anything reads or writes blocks again: see `move`. */
  oweMove(from: readonly number[], to: readonly number[]): void {
    this.#moves.from.push(...from);
    this.#moves.to.push(...to);
  }

  /** Does what `oweMove` was told. */
  async move(): Promise<void> {
    const { from, to } = this.#moves;
    if (from.length === 0) return;
    this.#moves = { from: [], to: [] };
    // Slot 0 is nobody's: copying it onto itself fills the list up.
    const count = roundUpToPowerOfTwo(from.length);
    const list = (slots: readonly number[]) => tensor(Int32Array.from({ length: count }, (_, i) => slots[i] ?? 0));
    await this.#change(async (pools) => (await this.steps.moveInPools(pools, this.heads, list(from), list(to))).cache);
  }

  /** Does what `extend` asks for. */
  async copy(): Promise<void> {
    const copies = this.#copies;
    if (copies.length === 0) return;
    this.#copies = [];
    const count = roundUpToPowerOfTwo(copies.length);
    // Block 0 is nobody's: copying it onto itself fills the list up.
    const list = (key: keyof BlockCopy) => tensor(Int32Array.from({ length: count }, (_, i) => copies[i]?.[key] ?? 0));
    await this.#change(
      async (pools) => (await this.steps.copyInPools(pools, this.heads, list('from'), list('to'))).cache,
    );
  }

  /** Makes room for so many blocks or more, but for `maxBlocks` at most. */
  async grow(least: number): Promise<void> {
    const wanted = Math.max(FIRST_TOKENS / BLOCK_SIZE, roundUpToPowerOfTwo(least));
    const blocks = Math.min(this.maxBlocks, wanted);
    await this.#change((pools) => this.steps.growPools(pools, this.heads, (blocks - this.blocks.blocks) * BLOCK_SIZE));
    this.blocks.grow(blocks);
  }

  async #change(change: (pools: KvCache) => Promise<KvCache>): Promise<void> {
    if (this.layers.length === 0) return;
    if (this.#pools) this.#pools = await change(this.#pools);
    if (this.#earlier) this.#earlier = await change(this.#earlier);
  }
}
