import { type BlockCopy, KvBlocks, type Tensor, tensor } from '@posttrain/core-tensor';
import type { KvCache, Network } from '../model/network.js';
import { roundUpToPowerOfTwo } from '../model/sizes.js';
import { BLOCK_SIZE, type PoolSteps, poolSteps } from './paged-steps.js';

/** The pools begin with room for this many tokens, and double as they must. */
const FIRST_TOKENS = 1024;

/** What has blocks. */
export interface BlockHolder {
  /** Its name in the blocks. */
  readonly id: number;
}

/** The blocks of a cache, and the pools that hold what is in them. */
export class BlockPools {
  readonly blocks = new KvBlocks({ blocks: 2, blockSize: BLOCK_SIZE });
  readonly maxBlocks: number;
  readonly #network: Network;
  /** Slots of tokens to copy, and where to. */
  #moves: { readonly from: number[]; readonly to: number[] } = { from: [], to: [] };
  #pools: KvCache | undefined;
  /** Of earlier passes (`Adapter.earlierPass`): the same blocks again, made when they are first asked for. */
  #earlier: KvCache | undefined;

  constructor(network: Network, maxBlocks: number) {
    this.#network = network;
    this.maxBlocks = maxBlocks;
  }

  /** What moves the blocks about, on the network's engine. */
  get steps(): PoolSteps {
    return poolSteps(this.#network.engine);
  }

  get heads(): number {
    return this.#network.kvHeads;
  }

  /** Whether the pools have the size that they begin with, or more. */
  get hasBegun(): boolean {
    return this.blocks.blocks >= Math.min(this.maxBlocks, FIRST_TOKENS / BLOCK_SIZE);
  }

  /** The pools: made when they are first asked for, and set to what each call that they were donated to has given. */
  get pools(): KvCache {
    this.#pools ??= this.#network.newPools(this.blocks.blocks * BLOCK_SIZE);
    return this.#pools;
  }

  set pools(pools: KvCache) {
    this.#pools = pools;
  }

  /** The pools that a pass reads and writes: with an earlier pass, that pass's behind its own. */
  poolsFor(earlierPass: boolean): KvCache {
    const { pools } = this;
    if (!earlierPass) return pools;
    this.#earlier ??= this.#network.newPools(this.blocks.blocks * BLOCK_SIZE);
    const { keys, values } = this.#earlier;
    return { keys: [...pools.keys, ...keys], values: [...pools.values, ...values] };
  }

  /** What a pass that `poolsFor` was donated to has given. */
  put({ keys, values }: KvCache, earlierPass: boolean): void {
    const layers = earlierPass ? keys.length / 2 : keys.length;
    this.#pools = { keys: keys.slice(0, layers), values: values.slice(0, layers) };
    if (earlierPass) this.#earlier = { keys: keys.slice(layers), values: values.slice(layers) };
  }

  /** The first `width` blocks of some holders, int32 [n, width], with n rounded up to a power of two. */
  table(holders: readonly BlockHolder[], width: number): Tensor {
    const count = roundUpToPowerOfTwo(holders.length);
    const table = new Int32Array(count * width);
    const ids = holders.map(({ id }) => id);
    table.set(this.blocks.table(ids, width));
    return tensor(table, [count, width]);
  }

  /** Where in the pools tokens `start` … `start + count - 1` are. */
  slots({ id }: BlockHolder, start: number, count: number): readonly number[] {
    return this.blocks.slots(id, start, count);
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
    const moved = async (pools: KvCache) =>
      (await this.steps.moveInPools(pools, this.heads, list(from), list(to))).cache;
    this.#pools = await moved(this.pools);
    if (this.#earlier) this.#earlier = await moved(this.#earlier);
  }

  /** Does what `KvBlocks.extend` asks for. */
  async copy(copies: readonly BlockCopy[]): Promise<void> {
    if (copies.length === 0) return;
    const count = roundUpToPowerOfTwo(copies.length);
    // Block 0 is nobody's: copying it onto itself fills the list up.
    const list = (key: keyof BlockCopy) => tensor(Int32Array.from({ length: count }, (_, i) => copies[i]?.[key] ?? 0));
    const copied = async (pools: KvCache) =>
      (await this.steps.copyInPools(pools, this.heads, list('from'), list('to'))).cache;
    this.#pools = await copied(this.pools);
    if (this.#earlier) this.#earlier = await copied(this.#earlier);
  }

  /** Makes room for so many blocks or more, but for `maxBlocks` at most. */
  async grow(least: number): Promise<void> {
    const wanted = Math.max(FIRST_TOKENS / BLOCK_SIZE, roundUpToPowerOfTwo(least));
    const blocks = Math.min(this.maxBlocks, wanted);
    const grown = (pools: KvCache) =>
      this.steps.growPools(pools, this.heads, (blocks - this.blocks.blocks) * BLOCK_SIZE);
    if (this.#pools) this.#pools = await grown(this.#pools);
    if (this.#earlier) this.#earlier = await grown(this.#earlier);
    this.blocks.grow(blocks);
  }
}
