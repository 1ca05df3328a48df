import { tensor } from '@posttrain/core-tensor';
import type { Adapter } from '../model/adapter.js';
import type { KvCache } from '../model/kv-cache.js';
import type { Weights } from '../model/layers.js';
import type { Network } from '../model/network.js';
import { roundUpToPowerOfTwo, roundUpToSize } from '../model/sizes.js';
import { AdapterLists } from './adapter-lists.js';
import { type BlockPools, TABLE_STEP } from './block-pools.js';
import type { ExtendOptions } from './extend-inputs.js';
import { BLOCK_SIZE, forgetPacked, packedSteps, pagedSteps, type StepResults } from './paged-steps.js';
import { InputMemory, type PassRow, paddedPositions, treeInputs } from './pass-inputs.js';
import { type FoundCopy, RowCopies } from './row-copies.js';
import type { PackWeights } from './runner-options.js';
import { paddedWidth } from './runner-passes.js';
import type { Sequence } from './sequence.js';
import { StateStore } from './state-store.js';
import { StepMemory } from './step-memory.js';

/** See `packWeights`. */
const UNPACKED_PASSES = 128;
const MOST_PACKED_BYTES = 2 ** 30;

interface PassOutput {
  readonly results: StepResults;
  /** Where in them the positions are that were asked about. */
  readonly places: readonly number[];
}

/**
 * How a pass of a runner is computed: over the blocks of its rows or over a copy of them, with packed weights or not, with
 * the adapters that it has. Whose rows they are and what room they have is the runner's business.
 */
export class PassRunner {
  readonly copies: RowCopies<Sequence>;
  readonly adapters: AdapterLists;
  readonly states: StateStore;
  readonly #network: Network;
  readonly #memory: BlockPools;
  readonly #packWeights: PackWeights;
  readonly #hasInt4: boolean;
  readonly #inputs = new InputMemory();
  readonly #results: StepMemory;
  #weights: Weights;
  #weightBytes: number;
  /** Since the weights came. */
  #passes = 0;

  /** `capacity`: tokens that the cache has room for. */
  constructor(
    { network, weights }: { readonly network: Network; readonly weights: Weights },
    memory: BlockPools,
    { packWeights, capacity }: { readonly packWeights: PackWeights; readonly capacity: number },
  ) {
    this.#network = network;
    this.#weights = weights;
    this.#memory = memory;
    this.#packWeights = packWeights;
    this.copies = new RowCopies(memory, capacity);
    this.adapters = new AdapterLists(() => ({ network, weights: this.#weights }));
    this.states = new StateStore(network);
    this.#results = new StepMemory(network);
    this.#weightBytes = bytesOf(weights);
    this.#hasInt4 = [...network.modules.values()].some(({ quantization }) => quantization?.method === 'int4');
  }

  /** The weights it computes with. */
  get weights(): Weights {
    return this.#weights;
  }

  /** Takes other weights of the same network. */
  reset(weights: Weights): void {
    this.copies.clear();
    void forgetPacked(this.#weights);
    this.#weights = weights;
    this.adapters.reset();
    this.#weightBytes = bytesOf(weights);
    this.#passes = 0;
  }

  /** Results of earlier passes are not looked at any more, and what blocks are owed is written. */
  async begin(): Promise<void> {
    this.#results.reclaim();
    await this.#memory.move();
    await this.copies.writeBack();
  }

  /** Computes a pass of rows whose room is there; its results hold until `begin`. */
  async run(
    pass: readonly PassRow<Sequence>[],
    { room, innerLayers = [] }: Pick<ExtendOptions, 'room' | 'innerLayers'>,
  ): Promise<PassOutput> {
    const sequences = pass.map(({ row }) => row.sequence);
    const longest = Math.max(...pass.map(({ from, to }) => to - from));
    // Copies have the layers of the pass itself only, in floats.
    const isCopied =
      longest === 1 &&
      !this.#memory.isEmpty &&
      this.#memory.dtype === 'float32' &&
      !pass.some(({ row }) => row.adapter.earlierPass);
    const copied = isCopied ? await this.copies.find(sequences, room) : undefined;
    if (!copied) {
      if (!isCopied) for (const sequence of sequences) this.copies.forget(sequence);
      await this.copies.writeBack();
    }
    const output = copied
      ? await this.#runCopied(pass, copied, innerLayers)
      : await this.#runPaged(pass, longest, innerLayers);
    this.#results.lend(output.results);
    for (const { row, from, to } of pass) {
      const { sequence, tokens, adapter } = row;
      for (let n = from; n < to; n++) sequence.tokens.push(tokens[n]!);
      if (!copied) sequence.written = sequence.stored;
      sequence.adapter = adapter;
    }
    return output;
  }

  /** A pass of one token a row over a copy of what is in the blocks. */
  async #runCopied(
    pass: readonly PassRow<Sequence>[],
    { count, places, cache, windowLengths }: FoundCopy,
    innerLayers: readonly number[],
  ): Promise<PassOutput> {
    const adapter = await this.#mixed(pass, places, count);
    const { inputs, positions } = this.#inputs.write(pass, places, [count, 1], adapter.rowInputs?.names);
    const input = {
      ...inputs,
      ...(windowLengths && { windowed: { lengths: windowLengths } }),
      ...(await this.#stateInputs(pass, places, count)),
      ...(innerLayers.length > 0 && { innerLayers }),
    };
    const old = this.#results.take(count, inputs.rates !== undefined, innerLayers.length);
    const rest = [adapter.parameters, this.withStates(cache), input, old] as const;
    const extended = this.#packs()
      ? await packedSteps(this.#network, this.#weights, adapter).extendCopied(...rest)
      : await pagedSteps(this.#network, adapter).extendCopied(this.#weights, ...rest);
    this.takeStates(extended.cache);
    this.copies.keep({ keys: extended.cache.keys, values: extended.cache.values });
    return { results: extended.results, places: positions };
  }

  /** A pass of up to `longest` tokens a row over the blocks. */
  async #runPaged(
    pass: readonly PassRow<Sequence>[],
    longest: number,
    innerLayers: readonly number[],
  ): Promise<PassOutput> {
    const count = roundUpToPowerOfTwo(pass.length);
    // A tree may have more tokens than the context, though no path of it is as long.
    const width = Math.max(longest, Math.min(this.#network.config.maxPositionEmbeddings, paddedWidth(longest)));
    const places = pass.map((_, i) => i);
    const adapter = await this.#mixed(pass, places, count);
    const { inputs, positions } = this.#inputs.write(pass, places, [count, width], adapter.rowInputs?.names);
    const tree = treeInputs(pass, count, width);
    const sequences = pass.map(({ row }) => row.sequence);
    const slots = new Int32Array(count * width);
    pass.forEach(({ row: { sequence }, from, to }, i) => {
      slots.set(this.#memory.whole.blocks.slots(sequence.id, sequence.stored, to - from), i * width);
    });
    const counts = pass.map(({ from, to }) => to - from);
    const windowed = this.#memory.windowedInput(sequences, counts, [count, width]);
    // Of a long prompt the earlier pieces see no more than what is before them.
    const most = Math.max(
      ...pass.map(({ row: { sequence }, from, to }) => Math.ceil((sequence.stored + to - from) / BLOCK_SIZE)),
    );
    const ids = sequences.map(({ id }) => id);
    const table = this.#memory.whole.table(ids, roundUpToSize(most, TABLE_STEP));
    const paged = {
      ...{
        ...inputs,
        ...(tree && { tree }),
        ...(windowed && { windowed }),
        slots: tensor(slots, [count, width]),
        table,
      },
      ...(await this.#stateInputs(pass, places, count)),
      ...(innerLayers.length > 0 && { innerLayers }),
    };
    const asked = width === 1 ? undefined : paddedPositions(positions);
    const input = asked ? { ...paged, rows: tensor(asked) } : paged;
    const old = this.#results.take(asked?.length ?? count, inputs.rates !== undefined, innerLayers.length);
    const { earlierPass = false } = adapter;
    const rest = [adapter.parameters, this.withStates(this.#memory.poolsFor(earlierPass)), input, old] as const;
    const extended = this.#packs()
      ? await packedSteps(this.#network, this.#weights, adapter).extend(...rest)
      : await pagedSteps(this.#network, adapter).extend(this.#weights, ...rest);
    this.takeStates(extended.cache);
    this.#memory.put(extended.cache, earlierPass);
    return { results: extended.results, places: asked ? positions.map((_, i) => i) : positions };
  }

  /** Where the states of a pass's rows, at `places` of `count`, are and go: nothing for a model without. */
  async #stateInputs(pass: readonly PassRow<Sequence>[], places: readonly number[], count: number) {
    if (!this.states.isUsed) return {};
    await this.states.makeRoom(pass.length);
    const [from, to] = [new Int32Array(count), new Int32Array(count)];
    pass.forEach(({ row: { sequence }, from: first, to: end }, i) => {
      const slots = this.states.advance(sequence, sequence.stored + end - first, end - first);
      from[places[i]!] = slots.from;
      to[places[i]!] = slots.to;
    });
    return { stateSlots: { from: tensor(from), to: tensor(to) } };
  }

  /** A cache with the pools of states, for a step. */
  withStates(cache: KvCache): KvCache {
    return this.states.isUsed ? { ...cache, states: this.states.pools } : cache;
  }

  /** What a step that they were donated to has given. */
  takeStates({ states }: KvCache): void {
    if (states) this.states.pools = states;
  }

  /** The adapter of a pass with rows at `places` of `count`. */
  #mixed(pass: readonly PassRow<Sequence>[], places: readonly number[], count: number): Promise<Adapter> {
    const adapters = pass.map(({ row }) => row.adapter);
    return this.adapters.mixed(adapters, places, count);
  }

  /** Whether a pass had better have the weights packed, which takes time and memory once. */
  #packs(): boolean {
    if (typeof this.#packWeights === 'boolean') return this.#packWeights;
    const isDue = this.#packWeights === 'at-once' || ++this.#passes > UNPACKED_PASSES;
    return this.#hasInt4 || (isDue && this.#weightBytes <= MOST_PACKED_BYTES);
  }
}

const bytesOf = (weights: Weights): number => Object.values(weights).reduce((sum, { size }) => sum + 4 * size, 0);
