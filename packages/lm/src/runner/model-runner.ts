import { OutOfBlocksError, tensor } from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import { type Adapter, NO_ADAPTER, sameAdapter, sameCache } from '../model/adapter.js';
import type { KvCacheDtype } from '../model/kv-cache.js';
import type { Weights } from '../model/layers.js';
import type { Network } from '../model/network.js';
import { distinctAdapters } from './adapter-lists.js';
import { BlockPools } from './block-pools.js';
import {
  type CachedSequence,
  checkExtend,
  checkInnerLayers,
  type ExtendInput,
  type ExtendOptions,
  type ExtendResult,
  type ExtendRow,
} from './extend-inputs.js';
import { BLOCK_SIZE, pagedSteps } from './paged-steps.js';
import type { PassRow } from './pass-inputs.js';
import { PassRunner } from './pass-runner.js';
import { cacheCapacity, type ModelRunnerOptions, type PackWeights, runnerOptions } from './runner-options.js';
import { type PassFailure, passesOf } from './runner-passes.js';
import { longestShared, Sequence, waitsForPrefix } from './sequence.js';
import { STATE_STEP, StateStore } from './state-store.js';
import { type RowSoftmax, rowsOf, softmaxesOf } from './step-memory.js';

type Row = ExtendRow<Sequence>;

/**
 * A model with a key/value cache in blocks (PagedAttention, arXiv 2309.06180): the level that generation, search and
 * speculation are written on. Sequences are extended, forked at any token (the past is shared until one of them writes
 * to it), cut and released; many are computed in one pass. What a sequence gets does not depend on the others, up to
 * rounding of the engine. Calls wait for each other.
 */
export class ModelRunner {
  readonly network: Network;
  /** As it was asked for. */
  readonly packWeights: PackWeights;
  /** As it was asked for. */
  readonly kvCacheDtype: KvCacheDtype;
  readonly #memory: BlockPools;
  readonly #maxTokensPerPass: number;
  readonly #prefixReuse: boolean;
  readonly #live = new Set<Sequence>();
  /** Released, least recently used first. */
  readonly #released = new Set<Sequence>();
  readonly #passes: PassRunner;
  #last: Promise<unknown> = Promise.resolve();
  #failure: PassFailure | undefined;

  constructor(model: { readonly network: Network; readonly weights: Weights }, given: ModelRunnerOptions = {}) {
    const { network } = model;
    const { prefixReuse, maxTokensPerPass, packWeights, cacheTokens, kvCacheDtype } = runnerOptions.read(given);
    this.network = network;
    this.packWeights = packWeights;
    this.kvCacheDtype = kvCacheDtype;
    const capacity = cacheCapacity(network, cacheTokens, kvCacheDtype);
    this.#memory = new BlockPools(network, capacity / BLOCK_SIZE + 1, kvCacheDtype);
    this.#maxTokensPerPass = maxTokensPerPass;
    this.#prefixReuse = prefixReuse;
    this.#passes = new PassRunner(model, this.#memory, { packWeights, capacity: this.capacity });
  }

  /** The weights it computes with. */
  get weights(): Weights {
    return this.#passes.weights;
  }

  /** A pass that failed: what the cache holds is not known since. */
  get failure(): PassFailure | undefined {
    return this.#failure;
  }

  /** Whether rows with different adapters have passes of their own, so that what fails is known. Default false. */
  set computesApart(isApart: boolean) {
    this.#passes.adapters.areApart = isApart;
  }

  /** Tokens that the cache has room for, in whole blocks. */
  get capacity(): number {
    return (this.#memory.maxBlocks - 1) * BLOCK_SIZE;
  }

  /** Bytes of the keys and values that there is memory for now, copies of rows that are being decoded left out. */
  get cacheBytes(): number {
    return this.#memory.bytes;
  }

  /** Room that no live sequence holds, in tokens. */
  get freeTokens(): number {
    const held = new Set([...this.#live].flatMap(({ id }) => this.#memory.whole.blocks.blocksOf(id)));
    return this.capacity - held.size * BLOCK_SIZE;
  }

  /**
   * A new sequence: empty, or with as many of `tokens` (but never all of them) as a sequence of this runner begins with and
   * has computed as this one would: with the same adapter and row inputs, or where neither adapter has changed anything yet.
   */
  start(tokens: readonly number[] = [], adapter: Adapter = NO_ADAPTER): CachedSequence {
    const all = this.#prefixReuse ? [...this.#live, ...this.#released] : [];
    const { best, shared } = longestShared(all, tokens, adapter, (other, common) => {
      // The last state of a sequence is the one whose window has most left.
      const reach = this.#reach(other, common);
      return this.#memory.reaches(other.id, other.virtual + reach) ? reach : 0;
    });
    if (best) {
      if (this.#released.delete(best)) this.#released.add(best);
      const from = this.#fork(best, shared);
      from.adapter = adapter;
      return from;
    }
    return this.#add(new Sequence(this.#memory.create()));
  }

  /**
   * Another sequence that begins with the first `length` tokens of this one (default: all).
   *
   * @throws PosttrainError where layers with sliding windows have given back what its next token would see
   */
  fork(sequence: CachedSequence, length: number = sequence.length): CachedSequence {
    return this.#fork(sequence, length);
  }

  #fork(sequence: CachedSequence, length: number): Sequence {
    const from = this.#own(sequence, this.#released);
    const reach = this.#reach(from, length);
    this.#checkReach(from, reach);
    this.#passes.copies.settle(from);
    const fork = from.fork(this.#memory.fork(from.id, from.virtual + reach), length, length - reach);
    this.#passes.states.share(from, fork, from.virtual + reach);
    return this.#add(fork);
  }

  /** From how many of a sequence's first `length` tokens others can go on: all, or in a model with recurrent layers as many as there is a state of. */
  #reach(sequence: Sequence, length: number): number {
    if (!this.#passes.states.isUsed) return length;
    const state = StateStore.at(sequence, sequence.virtual + length);
    return Math.max(0, (state?.length ?? 0) - sequence.virtual);
  }

  /**
   * Forgets all tokens but the first `length`.
   *
   * @throws PosttrainError where layers with sliding windows have given back what the next token would see: beyond a few dozen tokens
   */
  truncate(sequence: CachedSequence, length: number): void {
    const own = this.#own(sequence);
    const reach = this.#reach(own, length);
    this.#checkReach(own, reach);
    this.#memory.truncate(own.id, own.virtual + reach);
    this.#passes.states.truncate(own, own.virtual + reach);
    own.tokens.length = length;
    own.owed = length - reach;
    own.written = Math.min(own.written, own.stored);
  }

  /** Of a sequence that a tree was appended to: keeps the first `length` tokens, and of those behind them a path of the tree. */
  keep(sequence: CachedSequence, length: number, path: readonly number[]): void {
    const own = this.#own(sequence);
    if (path.some((place, i) => place !== i)) {
      const first = own.virtual + length;
      this.#memory.oweMove(
        own,
        path.map((place) => first + place),
        path.map((_, i) => first + i),
      );
      path.forEach((place, i) => {
        own.tokens[length + i] = own.tokens[length + place]!;
      });
    }
    this.truncate(sequence, length + path.length);
  }

  /** Gives a sequence's room back. Twice is an error, as is its use afterwards. */
  release(sequence: CachedSequence): void {
    const own = this.#own(sequence);
    this.#live.delete(own);
    if (this.#prefixReuse && own.length > 0) {
      this.#passes.copies.forget(own);
      this.#released.add(own);
    } else {
      this.#passes.copies.discard(own);
      this.#free(own);
    }
  }

  /** Gives back what a sequence holds that nobody will ask for again. */
  #free(sequence: Sequence): void {
    this.#memory.free(sequence.id);
    this.#passes.states.free(sequence);
  }

  /** Takes other weights of the same network; what is in the cache is forgotten. All sequences must have been released. */
  reset(weights: Weights): void {
    if (this.#live.size > 0) {
      throw new PosttrainError('MODEL_RUNNER', `reset: ${this.#live.size} sequences have not been released`);
    }
    for (const sequence of this.#released) this.#free(sequence);
    this.#released.clear();
    this.#passes.reset(weights);
  }

  /** Eviction of what released sequences have of an adapter that will not come again: their room, and its numbers. */
  forget(adapter: Adapter): Promise<void> {
    const result = this.#last.then(() => {
      for (const sequence of this.#released) {
        if (!sequence.adapter || !sameAdapter(sequence.adapter, adapter)) continue;
        this.#released.delete(sequence);
        this.#free(sequence);
      }
      this.#passes.adapters.forget(adapter);
    });
    this.#last = result;
    return result;
  }

  /** Makes the pools large enough for so many tokens now (at most `capacity`), instead of as they are needed. */
  reserve(tokens: number): Promise<void> {
    const blocks = Math.min(this.#memory.maxBlocks, Math.ceil(tokens / BLOCK_SIZE) + 1);
    const { whole } = this.#memory;
    const result = this.#last.then(() => (blocks > whole.blocks.blocks ? whole.grow(blocks) : undefined));
    this.#last = result.catch(() => undefined);
    return result;
  }

  /**
   * Appends tokens to sequences, in as few passes as they fit, and gives the logits after them.
   *
   * @throws OutOfBlocksError (nothing has been changed), `PosttrainError` for input that makes no sense, and what a pass
   * throws, which is the runner's `failure` from then on
   */
  extend(inputs: readonly ExtendInput[], options: ExtendOptions = {}): Promise<ExtendResult[]> {
    const result = this.#last.then(() => this.#extend(inputs, options));
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #extend(inputs: readonly ExtendInput[], options: ExtendOptions): Promise<ExtendResult[]> {
    assertKnownOptions('extend', options, ['logits', 'hidden', 'innerLayers', 'room']);
    const rows = inputs.map(({ sequence, tokens, parents, adapter = NO_ADAPTER, temperature }): Row => {
      return { sequence: this.#own(sequence), tokens, parents, adapter, temperature };
    });
    if (this.#passes.states.isUsed) refuseForStates(rows);
    checkInnerLayers(this.network.config, options.innerLayers ?? [], 'extend');
    checkExtend(this.network.config, rows, this.#maxTokensPerPass);
    if (this.kvCacheDtype !== 'float32') {
      const prefixed = rows.find(({ adapter }) => adapter.virtualTokens || adapter.earlierPass);
      if (prefixed) {
        throw new PosttrainError(
          'MODEL_RUNNER',
          `extend: ${prefixed.adapter.name} puts keys and values of its own into the cache, which kvCacheDtype "int8" has no form for: leave it out`,
        );
      }
    }
    let present: readonly Adapter[] = [];
    try {
      return await this.#compute(rows, options, (pass) => {
        present = distinctAdapters(pass.map(({ row }) => row.adapter));
      });
    } catch (error) {
      if (!(error instanceof OutOfBlocksError)) this.#failure ??= { error, adapters: present };
      throw error;
    }
  }

  async #compute(
    given: readonly Row[],
    options: ExtendOptions,
    onPass: (pass: readonly PassRow<Sequence>[]) => void,
  ): Promise<ExtendResult[]> {
    await this.#passes.begin();
    if (given.some(waitsForPrefix)) {
      await this.#putPrefixes(given.filter(waitsForPrefix), (row) => onPass([{ row, from: 0, to: 0, asked: 0 }]));
    }
    const rows = given.map((row) => {
      const { owed, tokens } = row.sequence;
      return owed === 0 ? row : { ...row, tokens: [...tokens.slice(-owed), ...row.tokens] };
    });
    await this.#makeRoom(rows);
    const again = rows.map(({ sequence }) => sequence.owed);
    for (const { sequence } of rows) {
      sequence.tokens.length -= sequence.owed;
      sequence.owed = 0;
    }
    this.#forgetStates();
    const cut = { step: STATE_STEP, starts: rows.map(({ sequence }) => sequence.stored) };
    const results = rows.map(({ temperature }) => ({
      logits: [] as Float32Array[],
      ...(options.hidden ? { hidden: [] as Float32Array[] } : {}),
      ...(options.innerLayers?.length ? { inner: [] as Float32Array[][] } : {}),
      ...(temperature === undefined ? {} : { softmax: [] as RowSoftmax[] }),
    }));
    const groups = this.#passes.adapters.groups(rows.map(({ adapter }) => adapter));
    const all = options.logits === 'all';
    for (const pieces of passesOf(
      ...([rows, groups, this.#maxTokensPerPass] as const),
      this.#passes.states.isUsed ? cut : undefined,
    )) {
      const pass = pieces.map(({ row: index, from, to }): PassRow<Sequence> => {
        const row = rows[index]!;
        const asked = all ? Math.max(0, to - Math.max(from, again[index]!)) : Number(to === row.tokens.length);
        return { row, from, to, asked };
      });
      onPass(pass);
      await this.#memory.extendWindowed(pass.map(({ row, from, to }) => ({ id: row.sequence.id, count: to - from })));
      const { results: output, places } = await this.#passes.run(pass, options);
      const logits = await rowsOf(output.logits);
      const hidden = options.hidden ? await rowsOf(output.hidden) : [];
      const inner = await Promise.all((output.inner ?? []).map(rowsOf));
      const softmaxes = await softmaxesOf(output);
      let next = 0;
      pass.forEach(({ asked }, i) => {
        const result = results[pieces[i]!.row]!;
        for (const place of places.slice(next, next + asked)) {
          result.logits.push(logits[place]!);
          result.hidden?.push(hidden[place]!);
          result.inner?.push(inner.map((layer) => layer[place]!));
          if (softmaxes) result.softmax?.push(softmaxes[place]!);
        }
        next += asked;
      });
    }
    return results;
  }

  /**
   * Puts what their adapters have before every sequence into the cache of sequences that begin: computed once an adapter
   * and what it reads of a sequence, and forked. It stays beside the released sequences, and makes room like them.
   */
  async #putPrefixes(rows: readonly Row[], onPrefix: (row: Row) => void): Promise<void> {
    const kinds = rows.filter((row, i) => rows.findIndex(({ adapter }) => sameCache(adapter, row.adapter)) === i);
    for (const { adapter } of kinds) {
      const own = rows.filter((row) => sameCache(row.adapter, adapter));
      onPrefix(own[0]!);
      const prefix = await this.#prefixOf(adapter);
      for (const { sequence } of own) {
        this.#memory.free(sequence.id);
        sequence.begin(adapter, this.#memory.fork(prefix.id), prefix.virtual);
        this.#passes.states.share(prefix, sequence, prefix.virtual);
      }
      this.#released.delete(prefix);
      if (this.#prefixReuse) this.#released.add(prefix);
      else this.#free(prefix);
    }
  }

  /** The sequence that has the prefix of an adapter and nothing else. */
  async #prefixOf(adapter: Adapter): Promise<Sequence> {
    const isIt = (one: Sequence) =>
      one.length === 0 && one.virtual > 0 && one.adapter !== undefined && sameCache(one.adapter, adapter);
    const known = [...this.#released].find(isIt);
    if (known) return known;
    const count = adapter.virtualTokens ?? 0;
    const prefix = new Sequence(this.#memory.create());
    try {
      await this.#makeRoom([{ sequence: prefix, tokens: { length: count } }]);
      await this.#memory.extendWindowed([{ id: prefix.id, count }]);
    } catch (error) {
      this.#memory.free(prefix.id);
      throw error;
    }
    const [whole, windowed] = this.#memory.groups.map(({ blocks }) =>
      tensor(Int32Array.from(blocks.slots(prefix.id, 0, count))),
    );
    const { states } = this.#passes;
    if (states.isUsed) await states.makeRoom(1);
    const slots = {
      ...{ whole: whole!, ...(windowed && { windowed }) },
      ...(states.isUsed && { state: tensor(Int32Array.of(states.begin(prefix, count))) }),
    };
    const { prefix: step } = pagedSteps(this.network, adapter);
    const inputs = Object.entries(adapter.inputs ?? {}).map(([name, value]) => [name, tensor(Int32Array.of(value))]);
    const { cache } = await step(
      ...([this.weights, adapter.parameters, this.#passes.withStates(this.#memory.poolsFor(false)), slots] as const),
      Object.fromEntries(inputs),
    );
    this.#passes.takeStates(cache);
    this.#memory.put(cache, false);
    prefix.begin(adapter, prefix.id, count);
    return prefix;
  }

  /** Blocks for the new tokens, in the layers that have all of a sequence. */
  async #makeRoom(
    rows: readonly { readonly sequence: Sequence; readonly tokens: { readonly length: number } }[],
  ): Promise<void> {
    const { whole } = this.#memory;
    const { blocks } = whole;
    const needed = () => rows.reduce((sum, { sequence, tokens }) => sum + blocks.needed(sequence.id, tokens.length), 0);
    while (needed() > blocks.freeBlocks) {
      const missing = needed() - blocks.freeBlocks;
      // Growing copies all there is, so what nobody holds goes first; but not while next to nothing is there.
      const [oldest] = this.#released;
      if (oldest && this.#memory.hasBegun) {
        this.#released.delete(oldest);
        this.#free(oldest);
      } else if (blocks.blocks < this.#memory.maxBlocks) await whole.grow(blocks.blocks + missing);
      else throw new OutOfBlocksError(needed(), blocks.freeBlocks);
    }
    for (const { sequence, tokens } of rows) whole.extend(sequence.id, tokens.length);
    await whole.copy();
  }

  #checkReach({ id, virtual, length: has }: Sequence, length: number): void {
    if (this.#memory.reaches(id, virtual + Math.min(length, has))) return;
    throw new PosttrainError(
      'MODEL_RUNNER',
      `layers with sliding windows have given back what token ${length} of a sequence of ${has} would see: ` +
        'fork it before it is extended so far',
    );
  }

  /** Lets go of states that nobody needs now, of released sequences first, until there are no more than may be kept. */
  #forgetStates(): void {
    const { states } = this.#passes;
    for (const sequence of [...this.#released]) {
      if (states.held <= states.most) return;
      this.#released.delete(sequence);
      this.#free(sequence);
    }
    for (const sequence of this.#live) while (states.held > states.most && states.forgetOne(sequence));
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

/** @throws PosttrainError for what no state can be: of a tree, and of the pass before a pass */
function refuseForStates(rows: readonly Row[]): void {
  const fail = (i: number, what: string): never => {
    throw new PosttrainError(
      'RECURRENT',
      `extend: input ${i} ${what}: this model has recurrent layers, whose state is of one sequence`,
    );
  };
  rows.forEach(({ parents, adapter }, i) => {
    if (parents) fail(i, 'is a tree of tokens');
    if (adapter.earlierPass) fail(i, `has an adapter with an earlier pass (${adapter.name})`);
  });
}
