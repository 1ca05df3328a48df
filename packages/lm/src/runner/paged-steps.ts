import {
  type Compiled,
  compile,
  concat,
  copyBlocks,
  iota,
  perEngine,
  putRows,
  readBlocks,
  softmax,
  type Tensor,
  type TokenTree,
  zeros,
} from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import { type Adapter, perAdapter } from '../model/adapter.js';
import { type KvCache, mapCache, type WindowedInput } from '../model/kv-cache.js';
import type { Weights } from '../model/layers.js';
import type { ExtendedPass, Network } from '../model/network.js';
import type { StateSlots } from '../model/recurrence/layer-state.js';
import { writeState } from '../model/recurrence/state-cache.js';
import { logitsOfRows } from './mixed-adapters.js';

/** Tokens in a block of the cache. */
export const BLOCK_SIZE = 16;

export interface PagedStepInput {
  /** int32 [b, s], padded on the right. */
  readonly tokens: Tensor;
  /** int32 [b]. */
  readonly lengths: Tensor;
  /** int32 [b, w]. */
  readonly table: Tensor;
  /** int32 [b, s]. */
  readonly slots: Tensor;
  /** Where rows of the pass have trees. */
  readonly tree?: TokenTree;
  /** Where layers with sliding windows have blocks of their own. */
  readonly windowed?: WindowedInput;
  /** int32 [n]: which of the b · s positions are asked about. Default: all, in order. */
  readonly rows?: Tensor;
  /** float32 [n]: 1 / temperature of each position that is asked about, if its softmax is. */
  readonly rates?: Tensor;
  /** int32 [b] each: `Adapter.rowInputs` of each row, if the adapter reads some. */
  readonly rowInputs?: Readonly<Record<string, Tensor>>;
  /** Layers whose states the output layer is to be applied to as well. */
  readonly innerLayers?: readonly number[];
  /** Of a model with recurrent layers: where the states of the rows are, and where those after the pass go. */
  readonly stateSlots?: StateSlots;
}

/** What a step says of the n positions that are asked about. */
export interface StepResults {
  /** [n, vocabulary]. */
  readonly logits: Tensor;
  /** Final, normalised hidden states [n, width]. */
  readonly hidden: Tensor;
  /** softmax(logits · rate) [n, vocabulary], where rates were given. */
  readonly probabilities?: Tensor;
  /** The first of the largest logits, int32 [n]. */
  readonly mostLikely?: Tensor;
  /** Logits [n, vocabulary] of each of `innerLayers`, where there are some. */
  readonly inner?: readonly Tensor[];
}

export interface PagedStepOutput {
  readonly cache: KvCache;
  readonly results: StepResults;
}

type PagedStep = [
  weights: Weights,
  parameters: unknown,
  cache: KvCache,
  input: PagedStepInput,
  /** What an earlier step gave for as many positions, and nobody looks at any more: the memory of this one's results. */
  old: StepResults,
];

/** Results at all positions of a pass in order, or at those that it asks about. */
function stepResults(
  { hidden, inner }: Pick<ExtendedPass, 'hidden' | 'inner'>,
  rows: Tensor | undefined,
  rates: Tensor | undefined,
  logitsOf: (hidden: Tensor) => Tensor,
): StepResults {
  const width = hidden.shape[2]!;
  const askedOf = (states: Tensor): Tensor => {
    const flat = states.reshape([states.size / width, width]);
    return rows ? flat.gather(rows, 0) : flat;
  };
  const asked = askedOf(hidden);
  const logits = logitsOf(asked);
  const results = {
    ...{ logits, hidden: asked },
    ...(inner.length > 0 && { inner: inner.map((states) => logitsOf(askedOf(states))) }),
  };
  if (!rates) return results;
  const probabilities = softmax(logits.mul(rates.expandDims(1)));
  return { ...results, probabilities, mostLikely: logits.argMax(1) };
}

/** See `Network.extendPaged`: appends tokens to rows of the paged cache, and gives the logits after some of them. */
export const pagedStep =
  (network: Network, adapter: Adapter) =>
  (...[weights, parameters, cache, input]: PagedStep): PagedStepOutput => {
    const hooks = adapter.hooks(parameters);
    const { rows, rates, ...rest } = input;
    const pass = network.extendPaged(weights, { ...rest, cache, blockSize: BLOCK_SIZE }, hooks);
    const logitsOf = (hidden: Tensor) => logitsOfRows(network, weights, hidden, hooks, input);
    return { cache: pass.cache, results: stepResults(pass, rows, rates, logitsOf) };
  };

type CopiedStep = [
  weights: Weights,
  parameters: unknown,
  cache: KvCache,
  input: Pick<PagedStepInput, 'tokens' | 'lengths' | 'rates' | 'rowInputs' | 'innerLayers' | 'windowed' | 'stateSlots'>,
  old: StepResults,
];

/** `pagedStep` of one token a row, over a copy of what is in the blocks: [b, kv, capacity, d] per layer. */
const copiedStep =
  (network: Network, adapter: Adapter) =>
  (...[weights, parameters, cache, input]: CopiedStep): PagedStepOutput => {
    const hooks = adapter.hooks(parameters);
    const { rates, ...rest } = input;
    const pass = network.extend(weights, { ...rest, cache }, hooks);
    const logitsOf = (hidden: Tensor) => logitsOfRows(network, weights, hidden, hooks, input);
    return { cache: pass.cache, results: stepResults(pass, undefined, rates, logitsOf) };
  };

/** Where in the pools a prefix goes. */
interface PrefixSlots {
  /** Its keys and values, int32 [v]. */
  readonly whole: Tensor;
  /** Where layers with sliding windows have blocks of their own. */
  readonly windowed?: Tensor;
  /** Its states, where the model has recurrent layers: int32 [1]. */
  readonly state?: Tensor;
}

type PrefixStep = [
  weights: Weights,
  parameters: unknown,
  cache: KvCache,
  slots: PrefixSlots,
  /** int32 [1] each: `Adapter.rowInputs` of the sequences that it stands before. */
  inputs: Readonly<Record<string, Tensor>>,
];

/** The pools with what an adapter puts before every sequence at `slots`. */
const prefixStep =
  (network: Network, adapter: Adapter) =>
  (...[weights, parameters, cache, slots, inputs]: PrefixStep): { readonly cache: KvCache } => {
    const { state } = slots;
    const { layers: prefix = [], states = [] } = network.prefixed(weights, adapter.hooks(parameters), inputs) ?? {};
    const write = (key: 'keys' | 'values') =>
      cache[key].map((pool, layer) => {
        const own = prefix[layer]?.[key];
        const places = (network.windows[layer] !== undefined && slots.windowed) || slots.whole;
        if (own?.shape[1] !== places.size) {
          const count = own?.shape[1] ?? 0;
          throw new PosttrainError(
            'PREFIX',
            `${adapter.name}: virtualTokens is ${places.size}, but its hooks have ${count}`,
          );
        }
        return putRows(pool, perHead(places, network.kvHeads, pool.shape[0]! / network.kvHeads), rowsOf(own));
      });
    const after = state && cache.states?.map((pool, i) => writeState(pool, states[i]!, { from: state, to: state }));
    return { cache: { keys: write('keys'), values: write('values'), ...(after && { states: after }) } };
  };

/** [heads, v, d] → [heads · v, d]. */
const rowsOf = (x: Tensor): Tensor => x.reshape([x.size / x.shape.at(-1)!, x.shape.at(-1)!]);

/** Where tokens at `places` int32 [m] are for each of so many heads, whose tokens are `step` apart: int32 [heads · m]. */
const perHead = (places: Tensor, heads: number, step: number): Tensor =>
  places
    .reshape([1, places.size])
    .add(iota([heads, 1], 0).mul(step))
    .reshape([heads * places.size]);

/** The compiled functions over a paged cache, for one network and one kind of adapter. */
export interface PagedSteps {
  prefix: Compiled<PrefixStep, { readonly cache: KvCache }>;
  extend: Compiled<PagedStep, PagedStepOutput>;
  extendCopied: Compiled<CopiedStep, PagedStepOutput>;
}

export const pagedSteps = perAdapter(
  (network, adapter): PagedSteps => ({
    prefix: compile(prefixStep(network, adapter), { name: 'prefix', donate: { 2: 'cache' } }),
    extend: compile(pagedStep(network, adapter), { name: 'extend', donate: { 2: 'cache' }, recycle: { 4: 'results' } }),
    extendCopied: compile(copiedStep(network, adapter), {
      name: 'extendCopied',
      donate: { 2: 'cache' },
      recycle: { 4: 'results' },
    }),
  }),
);

/**
 * The same steps over weights that stay what they are, which engines may pack for products: in memory
 * of its own, as long as the weights are there.
 */
export interface PackedSteps {
  extend: Compiled<WithoutWeights<PagedStep>, PagedStepOutput>;
  extendCopied: Compiled<WithoutWeights<CopiedStep>, PagedStepOutput>;
}

type WithoutWeights<Step> = Step extends [Weights, ...infer Rest] ? Rest : never;

/** What has been compiled over some weights. */
interface PackedModel {
  readonly stepsFor: (network: Network, adapter: Adapter) => PackedSteps;
  readonly made: PackedSteps[];
}

const packedByWeights = new WeakMap<Weights, PackedModel>();

export function packedSteps(network: Network, weights: Weights, adapter: Adapter): PackedSteps {
  const known = packedByWeights.get(weights) ?? packedModel(weights);
  packedByWeights.set(weights, known);
  return known.stepsFor(network, adapter);
}

/** Frees what has been compiled over weights that are not used any more; used again, they are compiled again. */
export async function forgetPacked(weights: Weights): Promise<void> {
  const { made = [] } = packedByWeights.get(weights) ?? {};
  packedByWeights.delete(weights);
  for (const { extend, extendCopied } of made) {
    await extend.dispose();
    await extendCopied.dispose();
  }
}

function packedModel(weights: Weights): PackedModel {
  const made: PackedSteps[] = [];
  const stepsFor = perAdapter((network: Network, adapter) => {
    const [extend, extendCopied] = [pagedStep(network, adapter), copiedStep(network, adapter)];
    const steps: PackedSteps = {
      extend: compile((...rest: WithoutWeights<PagedStep>) => extend(weights, ...rest), {
        name: 'extend',
        donate: { 1: 'cache' },
        recycle: { 3: 'results' },
        packCaptured: true,
      }),
      extendCopied: compile((...rest: WithoutWeights<CopiedStep>) => extendCopied(weights, ...rest), {
        name: 'extendCopied',
        donate: { 1: 'cache' },
        recycle: { 3: 'results' },
        packCaptured: true,
      }),
    };
    made.push(steps);
    return steps;
  });
  return { stepsFor, made };
}

const everyPool = (cache: KvCache, change: (pool: Tensor) => Tensor): KvCache =>
  mapCache(cache, (pools) => pools.map((pool) => change(pool)));

const copyOut = (cache: KvCache, heads: number, table: Tensor) => ({
  copy: everyPool(cache, (pool) => readBlocks(pool, table, { blockSize: BLOCK_SIZE, heads })),
});

export type PoolSteps = ReturnType<typeof poolSteps>;

/** What moves blocks of the pools about, the same for every network; compiled once for an engine. */
export const poolSteps = perEngine(() => ({
  /** Copies blocks in all pools of so many heads: see `copyBlocks`. */
  copyInPools: compile(
    (cache: KvCache, heads: number, from: Tensor, to: Tensor) => ({
      cache: everyPool(cache, (pool) => copyBlocks(pool, from, to, { blockSize: BLOCK_SIZE, heads })),
    }),
    { name: 'copyBlocks', donate: { 0: 'cache' } },
  ),

  /** Copies tokens in all pools of so many heads, from slots int32 [m] to others. */
  moveInPools: compile(
    (cache: KvCache, heads: number, from: Tensor, to: Tensor) => ({
      cache: everyPool(cache, (pool) => {
        const at = (slots: Tensor) => perHead(slots, heads, pool.shape[0]! / heads);
        return putRows(pool, at(to), pool.gather(at(from), 0));
      }),
    }),
    { name: 'moveTokens', donate: { 0: 'cache' } },
  ),

  /** What the blocks of `table` int32 [b, w] hold, [b, heads, w · block, d] per layer. */
  copyFromPools: compile(copyOut, { name: 'copyFromPools' }),

  /** The same in the memory of an old copy of the same shape. */
  copyFromPoolsInto: compile(
    (cache: KvCache, heads: number, table: Tensor, _old: KvCache) => copyOut(cache, heads, table),
    { name: 'copyFromPoolsInto', donate: { 3: 'copy' } },
  ),

  /** A copy with the rows at `places` int32 [b] replaced by what the blocks of `table` int32 [b, w] hold. */
  copyRowsFromPools: compile(
    (cache: KvCache, heads: number, table: Tensor, places: Tensor, copy: KvCache) => {
      const { copy: rows } = copyOut(cache, heads, table);
      const put = (key: 'keys' | 'values') => copy[key].map((all, layer) => putRows(all, places, rows[key][layer]!));
      return { copy: { keys: put('keys'), values: put('values') } };
    },
    { name: 'copyRowsFromPools', donate: { 4: 'copy' } },
  ),

  /**
   * The pools with tokens of a copy [b, heads, capacity, d] written back: those at `from` int32 [m], row · heads · capacity +
   * position, to `slots` int32 [m].
   */
  copyToPools: compile(
    (cache: KvCache, heads: number, copy: KvCache, from: Tensor, slots: Tensor) => {
      const write = (key: 'keys' | 'values') =>
        cache[key].map((pool, layer) => {
          const rows = copy[key][layer]!;
          const [, , capacity, d] = rows.shape as [number, number, number, number];
          const tokens = rows.reshape([rows.size / d, d]).gather(perHead(from, heads, capacity), 0);
          return putRows(pool, perHead(slots, heads, pool.shape[0]! / heads), tokens);
        });
      return { cache: { keys: write('keys'), values: write('values') } };
    },
    { name: 'copyToPools', donate: { 0: 'cache' } },
  ),

  /** The pools of so many heads with room for `tokens` tokens more. */
  growPools: compile(
    (cache: KvCache, heads: number, tokens: number) =>
      everyPool(cache, (pool) => {
        const [rows, d] = pool.shape as [number, number];
        const room = zeros([heads, tokens, d], pool.dtype);
        return concat([pool.reshape([heads, rows / heads, d]), room], 1).reshape([rows + heads * tokens, d]);
      }),
    { name: 'growPools' },
  ),
}));
