import { type BlockCopy, KvBlocks, OutOfBlocksError, type Tensor, tensor } from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import { type Adapter, NO_ADAPTER, sameAdapter } from '../model/adapter.js';
import type { Weights } from '../model/layers.js';
import type { KvCache, Network } from '../model/network.js';
import { roundUpToPowerOfTwo, roundUpToSize } from '../model/sizes.js';
import {
  BLOCK_SIZE,
  copyInPools,
  forgetPacked,
  growPools,
  packedSteps,
  pagedSteps,
  type StepResults,
} from './paged-steps.js';
import { RowCopies } from './row-copies.js';
import { type AppendedTokens, type Piece, paddedWidth, passesOf } from './runner-passes.js';
import { type RowSoftmax, rowsOf, StepMemory, softmaxesOf } from './step-memory.js';

/** A sequence in a runner's cache. Opaque: only the runner that made it can use it. */
export interface CachedSequence {
  /** Tokens computed so far. */
  readonly tokens: readonly number[];
  readonly length: number;
}

export interface ModelRunnerOptions {
  /** Most tokens that the cache holds, all sequences together. Default: as many as 1 GiB holds. */
  readonly cacheTokens?: number;
  /** Whether released sequences stay in the cache until their room is needed, for `start`. Default true. */
  readonly prefixReuse?: boolean;
  /** Most tokens, padding included, that one pass computes. Default 1024. */
  readonly maxTokensPerPass?: number;
  /**
   * Whether engines may keep a second copy of the weights, packed for products with one row and with many (a quarter less
   * time on a CPU). `auto`: once the same weights have been used for some hundred passes, if they take at most 1 GiB; those
   * of a model with `int4` layers always, since these are unpacked at every pass otherwise. Default `auto`.
   */
  readonly packWeights?: boolean | 'auto';
}

export interface ExtendInput {
  readonly sequence: CachedSequence;
  /** At least one. */
  readonly tokens: readonly number[];
  readonly adapter?: Adapter;
  /** Also give softmax(logits / temperature); 0 counts as 1. Computed for all inputs when one of them has this. */
  readonly temperature?: number;
}

export interface ExtendOptions {
  /** Logits after the last token of each input (the default), or after every token of it. */
  readonly logits?: 'last' | 'all';
  /** Also give the final hidden states that the logits are computed from. Default false. */
  readonly hidden?: boolean;
  /** How many tokens the longest of the sequences will come to have, if that is known: memory is asked for once. */
  readonly room?: number;
}

/** What `extend` computed for one input. Valid until the next call; copy what is to be kept. */
export interface ExtendResult {
  /** Rows [vocabulary]: one, or one per token. */
  readonly logits: readonly Float32Array[];
  /** Rows [width] beside them: final, normalised hidden states. */
  readonly hidden?: readonly Float32Array[];
  /** The softmax of each of them, where the input has a temperature. */
  readonly softmax?: readonly RowSoftmax[];
}

const DEFAULT_CACHE_BYTES = 2 ** 30;
/** The pools begin with room for this many tokens, and double as they must. */
const FIRST_TOKENS = 1024;
/** See `packWeights`. */
const UNPACKED_PASSES = 128;
const MOST_PACKED_BYTES = 2 ** 30;
/** Up to this many rows, products do not gain from packed weights. */
const FEW_ROWS = 32;
const TABLE_STEP = 64 / BLOCK_SIZE;

class Sequence implements CachedSequence {
  tokens: number[] = [];
  adapter: Adapter | undefined;
  constructor(
    /** Its name in the blocks. */
    readonly id: number,
  ) {}

  get length(): number {
    return this.tokens.length;
  }
}

/**
 * A model with a key/value cache in blocks (PagedAttention, arXiv 2309.06180): the level that generation, search and
 * speculation are written on. Sequences are extended, forked at any token (the past is shared until one of them writes
 * to it), cut and released; many are computed in one pass. What a sequence gets does not depend on the others, up to
 * rounding of the engine. Calls wait for each other.
 */
export class ModelRunner {
  readonly network: Network;
  #weights: Weights;
  readonly #blocks = new KvBlocks({ blocks: 2, blockSize: BLOCK_SIZE });
  readonly #maxBlocks: number;
  readonly #maxTokensPerPass: number;
  readonly #prefixReuse: boolean;
  readonly #packWeights: boolean | 'auto';
  #weightBytes: number;
  readonly #hasInt4: boolean;
  /** Since the weights came. */
  #passes = 0;
  readonly #live = new Set<Sequence>();
  /** Released, least recently used first. */
  readonly #released = new Set<Sequence>();
  #pools: KvCache | undefined;
  readonly #copies: RowCopies<Sequence>;
  readonly #memory: StepMemory;
  #last: Promise<unknown> = Promise.resolve();

  constructor(model: { readonly network: Network; readonly weights: Weights }, options: ModelRunnerOptions = {}) {
    assertKnownOptions('ModelRunner', options, ['cacheTokens', 'prefixReuse', 'maxTokensPerPass', 'packWeights']);
    const { network, weights } = model;
    const { cacheTokens = Math.floor(DEFAULT_CACHE_BYTES / network.cacheBytesPerToken) } = options;
    const { prefixReuse = true, maxTokensPerPass = 1024, packWeights = 'auto' } = options;
    for (const [name, value] of Object.entries({ cacheTokens, maxTokensPerPass })) {
      if (Number.isInteger(value) && value >= 1) continue;
      throw new PosttrainError('MODEL_RUNNER', `ModelRunner: ${name} must be a positive integer, not ${value}`);
    }
    this.network = network;
    this.#weights = weights;
    this.#maxBlocks = Math.ceil(cacheTokens / BLOCK_SIZE) + 1;
    this.#maxTokensPerPass = maxTokensPerPass;
    this.#copies = new RowCopies(network.kvHeads, this.capacity);
    this.#memory = new StepMemory(network);
    this.#prefixReuse = prefixReuse;
    this.#packWeights = packWeights;
    this.#weightBytes = bytesOf(weights);
    this.#hasInt4 = [...network.modules.values()].some(({ quantization }) => quantization?.method === 'int4');
  }

  /** The weights it computes with. */
  get weights(): Weights {
    return this.#weights;
  }

  /** Tokens that the cache has room for, in whole blocks. */
  get capacity(): number {
    return (this.#maxBlocks - 1) * BLOCK_SIZE;
  }

  /** Room that no live sequence holds, in tokens. */
  get freeTokens(): number {
    const held = new Set([...this.#live].flatMap(({ id }) => this.#blocks.blocksOf(id)));
    return this.capacity - held.size * BLOCK_SIZE;
  }

  /**
   * A new sequence: empty, or with as many of `tokens` (but never all of them) as a sequence of this runner with the same
   * adapter begins with.
   */
  start(tokens: readonly number[] = [], adapter: Adapter = NO_ADAPTER): CachedSequence {
    let best: Sequence | undefined;
    let shared = 0;
    for (const other of this.#prefixReuse ? [...this.#live, ...this.#released] : []) {
      if (!other.adapter || !sameAdapter(other.adapter, adapter)) continue;
      const common = commonPrefix(other.tokens, tokens, tokens.length - 1);
      if (common > shared) [best, shared] = [other, common];
    }
    if (best) {
      if (this.#released.delete(best)) this.#released.add(best);
      return this.fork(best, shared);
    }
    return this.#add(new Sequence(this.#blocks.create()));
  }

  /** Another sequence that begins with the first `length` tokens of this one (default: all). */
  fork(sequence: CachedSequence, length: number = sequence.length): CachedSequence {
    const from = this.#own(sequence, this.#released);
    const fork = new Sequence(this.#blocks.fork(from.id, length));
    fork.tokens = from.tokens.slice(0, length);
    fork.adapter = from.adapter;
    return this.#add(fork);
  }

  /** Forgets all tokens but the first `length`. */
  truncate(sequence: CachedSequence, length: number): void {
    const own = this.#own(sequence);
    if (length === own.length) return;
    this.#copies.forget(own);
    this.#blocks.truncate(own.id, length);
    own.tokens.length = length;
  }

  /** Gives a sequence's room back. Twice is an error, as is its use afterwards. */
  release(sequence: CachedSequence): void {
    const own = this.#own(sequence);
    this.#live.delete(own);
    this.#copies.forget(own);
    if (this.#prefixReuse && own.length > 0) this.#released.add(own);
    else this.#blocks.free(own.id);
  }

  /** Takes other weights of the same network; what is in the cache is forgotten. All sequences must have been released. */
  reset(weights: Weights): void {
    if (this.#live.size > 0) {
      throw new PosttrainError('MODEL_RUNNER', `reset: ${this.#live.size} sequences have not been released`);
    }
    for (const { id } of this.#released) this.#blocks.free(id);
    this.#released.clear();
    void forgetPacked(this.#weights);
    this.#weights = weights;
    this.#weightBytes = bytesOf(weights);
    this.#passes = 0;
  }

  /** Makes the pools large enough for so many tokens now (at most `capacity`), instead of as they are needed. */
  reserve(tokens: number): Promise<void> {
    const blocks = Math.min(this.#maxBlocks, Math.ceil(tokens / BLOCK_SIZE) + 1);
    const result = this.#last.then(() => (blocks > this.#blocks.blocks ? this.#grow(blocks) : undefined));
    this.#last = result.catch(() => undefined);
    return result;
  }

  /**
   * Appends tokens to sequences, in as few passes as they fit, and gives the logits after them.
   *
   * @throws OutOfBlocksError (nothing has been changed) and `PosttrainError` for input that makes no sense
   */
  extend(inputs: readonly ExtendInput[], options: ExtendOptions = {}): Promise<ExtendResult[]> {
    const result = this.#last.then(() => this.#extend(inputs, options));
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #extend(inputs: readonly ExtendInput[], options: ExtendOptions): Promise<ExtendResult[]> {
    assertKnownOptions('extend', options, ['logits', 'hidden', 'room']);
    const rows = inputs.map(({ sequence, adapter = NO_ADAPTER, ...rest }): Row => {
      return { sequence: this.#own(sequence), adapter, ...rest };
    });
    this.#check(rows);
    this.#memory.reclaim();
    const copies = await this.#makeRoom(rows);
    this.#pools ??= this.network.newPools(this.#blocks.blocks * BLOCK_SIZE);
    if (copies.length > 0) await this.#copy(copies);
    const results = rows.map(({ temperature }) => ({
      logits: [] as Float32Array[],
      ...(options.hidden ? { hidden: [] as Float32Array[] } : {}),
      ...(temperature === undefined ? {} : { softmax: [] as RowSoftmax[] }),
    }));
    for (const pass of passesOf(rows, this.#maxTokensPerPass)) {
      const all = options.logits === 'all';
      const asked = pass.map(({ from, to, row }) => (all ? to - from : Number(to === rows[row]!.tokens.length)));
      const { output, places } = await this.#run(rows, pass, asked, options.room);
      const logits = await rowsOf(output.logits);
      const hidden = options.hidden ? await rowsOf(output.hidden) : [];
      const softmaxes = await softmaxesOf(output);
      const at = places.values();
      for (const [i, { row }] of pass.entries()) {
        const result = results[row]!;
        for (let n = 0; n < asked[i]!; n++) {
          const place = at.next().value!;
          result.logits.push(logits[place]!);
          result.hidden?.push(hidden[place]!);
          if (softmaxes) result.softmax?.push(softmaxes[place]!);
        }
      }
    }
    return results;
  }

  /** Runs a pass; gives where in its output the rows are that were asked for. */
  async #run(
    rows: readonly Row[],
    pass: readonly Piece[],
    asked: readonly number[],
    room: number | undefined,
  ): Promise<{ output: StepResults; places: readonly number[] }> {
    const { adapter } = rows[pass[0]!.row]!;
    const steps = pagedSteps(this.network, adapter);
    const sequences = pass.map(({ row }) => rows[row]!.sequence);
    const longest = Math.max(...pass.map(({ from, to }) => to - from));
    const copied =
      longest === 1
        ? await this.#copies.find(sequences, this.#pools!, (added, blocks) => this.#table(added, blocks), room)
        : undefined;
    const { maxPositionEmbeddings: limit } = this.network.config;
    const width = Math.min(limit, paddedWidth(longest));
    const count = copied?.count ?? roundUpToPowerOfTwo(pass.length);
    const [tokens, slots] = [new Int32Array(count * width), new Int32Array(count * width)];
    const lengths = new Int32Array(count);
    const positions: number[] = [];
    const rates: number[] = [];
    pass.forEach(({ row, from, to }, i) => {
      const { sequence, tokens: added, temperature } = rows[row]!;
      const place = copied?.places[i] ?? i;
      for (let n = from; n < to; n++) tokens[place * width + n - from] = added[n]!;
      lengths[place] = sequence.length;
      slots.set(this.#blocks.slots(sequence.id, sequence.length, to - from), place * width);
      for (let n = asked[i]!; n > 0; n--) {
        if (temperature !== undefined) rates[width === 1 ? place : positions.length] = 1 / (temperature || 1);
        positions.push(place * width + (to - from) - n);
      }
    });
    const asks = width === 1 ? count : roundUpToPowerOfTwo(positions.length);
    const shared = {
      tokens: int32(tokens, [count, width]),
      lengths: int32(lengths, [count]),
      slots: int32(slots, [count, width]),
      ...(rates.length > 0 ? { rates: tensor(Float32Array.from({ length: asks }, (_, i) => rates[i] ?? 1)) } : {}),
    };
    const old = this.#memory.take(asks, rates.length > 0);
    const { parameters } = adapter;
    const packed = this.#packs(count * width) ? packedSteps(this.network, this.#weights, adapter) : undefined;
    let output: StepResults;
    if (copied) {
      const rest = [parameters, this.#pools!, shared, copied.cache, old] as const;
      const extended = await (packed ? packed.extendCopied(...rest) : steps.extendCopied(this.#weights, ...rest));
      this.#copies.keep(extended.copy);
      this.#pools = extended.cache;
      output = extended.results;
    } else {
      if (longest > 1) for (const sequence of sequences) this.#copies.forget(sequence);
      const most = Math.max(...sequences.map(({ id }) => this.#blocks.blocksOf(id).length));
      const table = this.#table(sequences, roundUpToSize(most, TABLE_STEP));
      const rest =
        width === 1
          ? {}
          : {
              rows: int32(
                Int32Array.from({ length: asks }, (_, i) => positions[i] ?? 0),
                [asks],
              ),
            };
      const inputs = [parameters, this.#pools!, { ...shared, table, ...rest }, old] as const;
      const extended = await (packed ? packed.extend(...inputs) : steps.extend(this.#weights, ...inputs));
      this.#pools = extended.cache;
      output = extended.results;
    }
    this.#memory.lend(output);
    for (const { row, from, to } of pass) {
      const { sequence, tokens: added } = rows[row]!;
      for (let i = from; i < to; i++) sequence.tokens.push(added[i]!);
      sequence.adapter = adapter;
    }
    return { output, places: width === 1 ? positions : positions.map((_, i) => i) };
  }

  /** Whether a pass of so many rows had better have the weights packed, which takes time and memory once. */
  #packs(rows: number): boolean {
    if (this.#packWeights === false) return false;
    if (this.#packWeights === 'auto' && this.#hasInt4) return true;
    if (this.#packWeights === 'auto' && (++this.#passes <= UNPACKED_PASSES || this.#weightBytes > MOST_PACKED_BYTES)) {
      return false;
    }
    return rows === 1 || rows > FEW_ROWS;
  }

  #table(sequences: readonly Sequence[], width: number): Tensor {
    const count = roundUpToPowerOfTwo(sequences.length);
    const table = new Int32Array(count * width);
    const ids = sequences.map(({ id }) => id);
    table.set(this.#blocks.table(ids, width));
    return int32(table, [count, width]);
  }

  async #copy(copies: readonly BlockCopy[]): Promise<void> {
    const count = roundUpToPowerOfTwo(copies.length);
    // Block 0 is nobody's: copying it onto itself fills the list up.
    const list = (key: keyof BlockCopy) => Int32Array.from({ length: count }, (_, i) => copies[i]?.[key] ?? 0);
    const { cache } = await copyInPools(
      this.#pools!,
      this.network.kvHeads,
      int32(list('from'), [count]),
      int32(list('to'), [count]),
    );
    this.#pools = cache;
  }

  /** Blocks for the new tokens; gives those to copy first. */
  async #makeRoom(rows: readonly Row[]): Promise<BlockCopy[]> {
    const needed = () =>
      rows.reduce((sum, { sequence, tokens }) => sum + this.#blocks.needed(sequence.id, tokens.length), 0);
    while (needed() > this.#blocks.freeBlocks) {
      const missing = needed() - this.#blocks.freeBlocks;
      // Growing copies all there is, so what nobody holds goes first.
      const [oldest] = this.#released;
      if (oldest) {
        this.#released.delete(oldest);
        this.#blocks.free(oldest.id);
      } else if (this.#blocks.blocks < this.#maxBlocks) await this.#grow(this.#blocks.blocks + missing);
      else throw new OutOfBlocksError(needed(), this.#blocks.freeBlocks);
    }
    return rows.flatMap(({ sequence, tokens }) => this.#blocks.extend(sequence.id, tokens.length));
  }

  async #grow(least: number): Promise<void> {
    const wanted = Math.max(FIRST_TOKENS / BLOCK_SIZE, roundUpToPowerOfTwo(least));
    const blocks = Math.min(this.#maxBlocks, wanted);
    if (this.#pools)
      this.#pools = await growPools(this.#pools, this.network.kvHeads, (blocks - this.#blocks.blocks) * BLOCK_SIZE);
    this.#blocks.grow(blocks);
  }

  #check(rows: readonly Row[]): void {
    const { maxPositionEmbeddings: limit, vocabSize } = this.network.config;
    const fail = (i: number, why: string): never => {
      throw new PosttrainError('MODEL_RUNNER', `extend: input ${i} ${why}`);
    };
    if (new Set(rows.map(({ sequence }) => sequence)).size < rows.length) {
      throw new PosttrainError('MODEL_RUNNER', 'extend: a sequence is given twice; fork it first');
    }
    rows.forEach(({ sequence, tokens, adapter }, i) => {
      if (tokens.length === 0) fail(i, 'has no tokens');
      const bad = tokens.find((token) => !Number.isInteger(token) || token < 0 || token >= vocabSize);
      if (bad !== undefined) fail(i, `has the token ${bad}, which the vocabulary of ${vocabSize} does not have`);
      const total = sequence.length + tokens.length;
      if (total > limit) fail(i, `would make a sequence of ${total} tokens; the context holds ${limit}`);
      if (sequence.adapter && !sameAdapter(sequence.adapter, adapter)) {
        fail(
          i,
          `has another adapter (${adapter.name}) than what its past was computed with (${sequence.adapter.name})`,
        );
      }
    });
  }

  #add(sequence: Sequence): Sequence {
    this.#live.add(sequence);
    return sequence;
  }

  #own(sequence: CachedSequence, also?: ReadonlySet<Sequence>): Sequence {
    if (sequence instanceof Sequence && (this.#live.has(sequence) || also?.has(sequence))) return sequence;
    throw new PosttrainError('MODEL_RUNNER', 'the sequence was released, or belongs to another runner');
  }
}

/** Tokens to append to a sequence. */
interface Row extends AppendedTokens {
  readonly sequence: Sequence;
  readonly temperature?: number;
}

function commonPrefix(a: readonly number[], b: readonly number[], most: number): number {
  const end = Math.min(a.length, most);
  let i = 0;
  while (i < end && a[i] === b[i]) i++;
  return i;
}

const bytesOf = (weights: Weights): number => Object.values(weights).reduce((sum, { size }) => sum + 4 * size, 0);

const int32 = (values: Int32Array, shape: readonly number[]): Tensor => tensor(values, shape, 'int32');
