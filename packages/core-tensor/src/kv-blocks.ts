import { PosttrainError } from '@posttrain/interfaces';

/** No free block is left. Nothing has been changed: free a sequence, or wait for one to end, and ask again. */
export class OutOfBlocksError extends PosttrainError {
  constructor(needed: number, free: number) {
    super('OUT_OF_BLOCKS', `the cache needs ${needed} more blocks and has ${free}; end or free a sequence first`);
  }
}

/** A block to copy before the next tokens are written: see `copyBlocks`. */
export interface BlockCopy {
  readonly from: number;
  readonly to: number;
}

interface Sequence {
  /** From the first that it still holds on. */
  blocks: number[];
  /** Blocks before them that it has given back. */
  dropped: number;
  length: number;
}

/** Trash block: where padding is written. */
const TRASH = 0;

/**
 * Who owns which block of a paged key/value cache (arXiv 2309.06180, section 4.3): sequences hold lists of blocks, forks
 * share them, and a shared block is copied when one of its holders writes to it. Bookkeeping only; the pools are tensors
 * that `pagedAttention` and `copyBlocks` update. Block 0 belongs to nobody and takes the padding.
 */
export class KvBlocks {
  readonly blockSize: number;
  readonly #free: number[];
  #references: Int32Array;
  readonly #sequences = new Map<number, Sequence>();
  #nextId = 0;

  /** `blocks`: of the pools, block 0 included. */
  constructor({ blocks, blockSize }: { readonly blocks: number; readonly blockSize: number }) {
    if (!Number.isInteger(blocks) || blocks < 2 || !Number.isInteger(blockSize) || blockSize < 1) {
      throw new PosttrainError(
        'KV_BLOCKS',
        `needs two blocks or more of one token or more, not ${blocks} of ${blockSize}`,
      );
    }
    this.blockSize = blockSize;
    this.#references = new Int32Array(blocks);
    this.#free = Array.from({ length: blocks - 1 }, (_, i) => blocks - 1 - i);
  }

  get freeBlocks(): number {
    return this.#free.length;
  }

  /** Adds blocks, which the pools must have room for. */
  grow(blocks: number): void {
    const before = this.#references.length;
    if (!Number.isInteger(blocks) || blocks < before) {
      throw new PosttrainError('KV_BLOCKS', `has ${before} blocks already, so it cannot grow to ${blocks}`);
    }
    const references = new Int32Array(blocks);
    references.set(this.#references);
    this.#references = references;
    // Taken from the end: lower numbers first.
    this.#free.unshift(...Array.from({ length: blocks - before }, (_, i) => blocks - 1 - i));
  }

  /** All blocks, block 0 included. */
  get blocks(): number {
    return this.#references.length;
  }

  /** The blocks that a sequence holds, in order: from that of token `firstKept` on. */
  blocksOf(sequence: number): readonly number[] {
    return this.#get(sequence).blocks;
  }

  /** How many free blocks `extend` would take. */
  needed(sequence: number, count: number): number {
    const { blocks, dropped, length } = this.#get(sequence);
    const more = Math.ceil((length + count) / this.blockSize) - dropped - blocks.length;
    return more + Number(this.#copiesLast(sequence, count));
  }

  /** Reference count: how many sequences hold a block. */
  references(block: number): number {
    return this.#references[block]!;
  }

  /** An empty sequence; its name. */
  create(): number {
    this.#sequences.set(this.#nextId, { blocks: [], dropped: 0, length: 0 });
    return this.#nextId++;
  }

  /**
   * Prefix sharing: a sequence that begins with the first `length` tokens of another (default: all), whose blocks both
   * reference.
   */
  fork(sequence: number, length: number = this.length(sequence)): number {
    const { blocks, dropped } = this.#get(sequence);
    this.#checkLength(sequence, length);
    const shared = blocks.slice(0, Math.ceil(length / this.blockSize) - dropped);
    for (const block of shared) this.#references[block]!++;
    this.#sequences.set(this.#nextId, { blocks: shared, dropped, length });
    return this.#nextId++;
  }

  /** Rollback: forgets all tokens of a sequence but the first `length`. */
  truncate(sequence: number, length: number): void {
    const state = this.#get(sequence);
    this.#checkLength(sequence, length);
    if (length === state.length) return;
    const kept = Math.ceil(length / this.blockSize) - state.dropped;
    for (const block of state.blocks.splice(kept)) this.#release(block);
    state.length = length;
  }

  /** Sliding windows: gives back the blocks whose tokens are all before `position`, which nobody will read again. */
  dropBefore(sequence: number, position: number): void {
    const state = this.#get(sequence);
    const count = Math.floor(Math.min(position, state.length) / this.blockSize) - state.dropped;
    if (count <= 0) return;
    for (const block of state.blocks.splice(0, count)) this.#release(block);
    state.dropped += count;
  }

  /** The first token whose block the sequence still holds: 0 unless `dropBefore` has given some back. */
  firstKept(sequence: number): number {
    return this.#get(sequence).dropped * this.blockSize;
  }

  length(sequence: number): number {
    return this.#get(sequence).length;
  }

  /**
   * Allocates blocks for `count` more tokens of a sequence. Copy-on-write: the blocks in the result must be copied in the
   * pools before the tokens are written.
   *
   * @throws OutOfBlocksError; nothing has been changed then
   */
  extend(sequence: number, count: number): BlockCopy[] {
    const state = this.#get(sequence);
    const copies = this.#copiesLast(sequence, count);
    const needed = this.needed(sequence, count);
    if (needed > this.#free.length) throw new OutOfBlocksError(needed, this.#free.length);
    const result: BlockCopy[] = [];
    if (copies) {
      const from = state.blocks.at(-1)!;
      const to = this.#take();
      this.#release(from);
      state.blocks[state.blocks.length - 1] = to;
      result.push({ from, to });
    }
    const total = Math.ceil((state.length + count) / this.blockSize) - state.dropped;
    while (state.blocks.length < total) state.blocks.push(this.#take());
    state.length += count;
    return result;
  }

  /** Releases a sequence's references; blocks that forks share stay allocated. */
  free(sequence: number): void {
    for (const block of this.#get(sequence).blocks) this.#release(block);
    this.#sequences.delete(sequence);
  }

  /** The first `width` blocks that the sequences hold as rows of one table int32 [n, width], padded with block 0. */
  table(sequences: readonly number[], width: number): Int32Array {
    const rows = new Int32Array(sequences.length * width).fill(TRASH);
    sequences.forEach((sequence, row) => {
      rows.set(this.#get(sequence).blocks.slice(0, width), row * width);
    });
    return rows;
  }

  /**
   * Where tokens `start` … `start + count - 1` of a sequence are in the pools: block · blockSize + place; in block 0, which nobody reads, for
   * those that `dropBefore` has given back.
   */
  slots(sequence: number, start: number, count: number): number[] {
    const { blocks, dropped } = this.#get(sequence);
    return Array.from({ length: count }, (_, i) => {
      const position = start + i;
      const at = Math.floor(position / this.blockSize) - dropped;
      return (at < 0 ? TRASH : blocks[at]!) * this.blockSize + (position % this.blockSize);
    });
  }

  /** Copy-on-write: only the last block can be both shared and written to; those before it are full. */
  #copiesLast(sequence: number, count: number): boolean {
    const { blocks, length } = this.#get(sequence);
    return count > 0 && length % this.blockSize !== 0 && this.#references[blocks.at(-1)!]! > 1;
  }

  #checkLength(sequence: number, length: number): void {
    const { length: has, dropped } = this.#get(sequence);
    if (Number.isInteger(length) && length >= dropped * this.blockSize && length <= has) return;
    if (dropped > 0 && length >= 0 && length <= has) {
      throw new PosttrainError(
        'KV_BLOCKS',
        `sequence ${sequence} has given back its first ${dropped * this.blockSize} tokens; it cannot be cut to ${length}`,
      );
    }
    throw new PosttrainError('KV_BLOCKS', `sequence ${sequence} has ${has} tokens; it cannot be cut to ${length}`);
  }

  #get(sequence: number): Sequence {
    const state = this.#sequences.get(sequence);
    if (!state)
      throw new PosttrainError('KV_BLOCKS', `there is no sequence ${sequence}: it was freed, or never created`);
    return state;
  }

  #take(): number {
    const block = this.#free.pop()!;
    this.#references[block] = 1;
    return block;
  }

  #release(block: number): void {
    if (--this.#references[block]! === 0) this.#free.push(block);
  }
}
