import { type Key, type Tensor, tensor } from '@posttrain/core-tensor';
import { PosttrainError } from '@posttrain/interfaces';
import { type Adapter, NO_ADAPTER } from '../model/adapter.js';
import type { Weights } from '../model/layers.js';
import type { KvCache, Network } from '../model/network.js';
import { checkSamplerSettings, type SampledToken, type SamplerSettings, sampleToken } from './sampler.js';
import { generationSteps } from './steps.js';

/** One row of generation: tokens in, tokens out. */
export interface DecodeRow extends SamplerSettings {
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  /** Names the row's random stream; the same row, weights and key give the same tokens. */
  readonly key: Key;
  /** A token that ends the row; it counts as generated. */
  readonly isEnd: (token: number) => boolean;
}

export interface DecodeEvent extends SampledToken {
  /** Position in the list of rows. */
  readonly row: number;
  /** Why the row ended with this token; undefined while it goes on. */
  readonly finish: 'stop' | 'length' | undefined;
}

export interface DecodeOptions {
  readonly adapter?: Adapter;
  /** Rows decoded together. Default 64. */
  readonly maxBatch?: number;
  /** Asked after every token whether the caller ends this row (a stop string, an abort). */
  readonly isCancelled?: (row: number) => boolean;
}

/** A prompt that leaves no room for a single generated token. */
export class ContextLengthError extends PosttrainError {
  constructor(row: number, tokens: number, limit: number) {
    super(
      'CONTEXT_LENGTH',
      `prompt ${row} has ${tokens} tokens, but the model's context holds ${limit} and at least one must be generated; shorten the prompt`,
    );
  }
}

/** Sizes are rounded up to these, so that a few traced graphs serve all requests. */
const PROMPT_STEP = 16;
const CAPACITY_STEP = 64;

const roundUp = (value: number, step: number): number => Math.ceil(value / step) * step;
const roundUpToPowerOfTwo = (value: number): number => 2 ** Math.ceil(Math.log2(value));

const int32 = (values: readonly number[], shape: readonly number[]): Tensor =>
  tensor(Int32Array.from(values), shape, 'int32');

/**
 * Generates all rows and yields every token as it is drawn. Rows that share a prompt share its prefill. What a row
 * gets does not depend on which rows it is batched with.
 */
export async function* decode(
  network: Network,
  weights: Weights,
  rows: readonly DecodeRow[],
  options: DecodeOptions = {},
): AsyncGenerator<DecodeEvent> {
  const limit = network.config.maxPositionEmbeddings;
  rows.forEach((row, i) => {
    checkSamplerSettings(row);
    if (row.prompt.length === 0) throw new PosttrainError('EMPTY_PROMPT', `prompt ${i} has no tokens`);
    if (row.prompt.length >= limit) throw new ContextLengthError(i, row.prompt.length, limit);
    if (!Number.isInteger(row.maxTokens) || row.maxTokens < 1) {
      throw new PosttrainError('SAMPLING', `generate: maxTokens must be a positive integer, not ${row.maxTokens}`);
    }
  });
  // Rows of similar length together; order among equals stays, so that samples of one prompt meet.
  const order = rows.map((_, i) => i).sort((a, b) => rows[a]!.prompt.length - rows[b]!.prompt.length || a - b);
  const size = options.maxBatch ?? 64;
  for (let start = 0; start < order.length; start += size) {
    yield* decodeBatch(network, weights, rows, order.slice(start, start + size), options);
  }
}

interface LiveRow {
  readonly row: number;
  /** Row of the cache. */
  slot: number;
  /** Tokens in the cache. */
  length: number;
  readonly generated: number[];
}

async function* decodeBatch(
  network: Network,
  weights: Weights,
  rows: readonly DecodeRow[],
  members: readonly number[],
  { adapter = NO_ADAPTER, isCancelled }: DecodeOptions,
): AsyncGenerator<DecodeEvent> {
  const limit = network.config.maxPositionEmbeddings;
  const steps = generationSteps(network, adapter);
  const prompts = distinctPrompts(members.map((i) => rows[i]!.prompt));
  const longest = Math.max(...members.map((i) => Math.min(limit, rows[i]!.prompt.length + rows[i]!.maxTokens)));

  const extend = (cache: KvCache, inputs: readonly { tokens: readonly number[]; length: number }[]) => {
    const width = Math.max(...inputs.map(({ tokens }) => tokens.length));
    const padded = width === 1 ? 1 : roundUp(width, PROMPT_STEP);
    const count = inputs.length;
    const grid = inputs.flatMap(({ tokens }) => [...tokens, ...new Array<number>(padded - tokens.length).fill(0)]);
    const lengths = inputs.map(({ length }) => length);
    const counts = inputs.map(({ tokens }) => tokens.length);
    const [gridT, lengthsT, countsT] = [int32(grid, [count, padded]), int32(lengths, [count]), int32(counts, [count])];
    return steps.extend(weights, adapter.parameters, cache, gridT, lengthsT, countsT);
  };
  const select = (cache: KvCache, slots: number, from: readonly number[]) =>
    steps.selectRows(
      cache,
      int32(
        Array.from({ length: slots }, (_, i) => from[i] ?? 0),
        [slots],
      ),
    );

  // Prefill every distinct prompt once, then give each row its own copy of the cache.
  const filled = roundUpToPowerOfTwo(prompts.list.length);
  const capacity = roundUp(
    Math.max(longest, roundUp(Math.max(...prompts.list.map((p) => p.length)), PROMPT_STEP)),
    CAPACITY_STEP,
  );
  const promptInputs = Array.from({ length: filled }, (_, i) => ({ tokens: prompts.list[i] ?? [0], length: 0 }));
  const first = await extend(network.newCache(filled, capacity), promptInputs);
  let slots = roundUpToPowerOfTwo(members.length);
  const shared = filled !== slots || prompts.index.some((prompt, i) => prompt !== i);
  let cache = shared ? await select(first.cache, slots, prompts.index) : first.cache;
  let live = members.map((row, slot): LiveRow => ({ row, slot, length: rows[row]!.prompt.length, generated: [] }));
  let logits = await splitRows(first.logits);
  let logitsAt = (state: LiveRow) => logits[prompts.index[state.slot]!]!;

  while (true) {
    const survivors: LiveRow[] = [];
    for (const state of live) {
      const drawn = drawNext(rows[state.row]!, state, logitsAt(state));
      state.generated.push(drawn.token);
      const full = state.generated.length >= rows[state.row]!.maxTokens || state.length + 1 >= limit;
      const finish = rows[state.row]!.isEnd(drawn.token) ? 'stop' : full ? 'length' : undefined;
      yield { row: state.row, ...drawn, finish };
      if (!finish && !isCancelled?.(state.row)) survivors.push(state);
    }
    live = survivors;
    if (live.length === 0) return;
    if (roundUpToPowerOfTwo(live.length) < slots) {
      slots = roundUpToPowerOfTwo(live.length);
      cache = await select(
        cache,
        slots,
        live.map((state) => state.slot),
      );
      live.forEach((state, slot) => {
        state.slot = slot;
      });
    }
    // A slot whose row has ended computes a token that nobody reads.
    const inputs = Array.from({ length: slots }, () => ({ tokens: [0], length: 0 }));
    for (const state of live) inputs[state.slot] = { tokens: [state.generated.at(-1)!], length: state.length };
    const next = await extend(cache, inputs);
    for (const state of live) state.length++;
    cache = next.cache;
    logits = await splitRows(next.logits);
    logitsAt = (state) => logits[state.slot]!;
  }
}

function drawNext(row: DecodeRow, state: LiveRow, logits: Float32Array): SampledToken {
  const uniform = row.temperature === 0 ? 0 : row.key.child(state.generated.length).uniformHost(1)[0]!;
  const seen = row.repetitionPenalty === 1 ? [] : [...row.prompt, ...state.generated];
  return sampleToken(logits, row, seen, uniform);
}

async function splitRows(logits: Tensor): Promise<Float32Array[]> {
  const [count, width] = logits.shape as [number, number];
  const data = Float32Array.from(await logits.data());
  return Array.from({ length: count }, (_, i) => data.subarray(i * width, (i + 1) * width));
}

function distinctPrompts(prompts: readonly (readonly number[])[]): {
  readonly list: readonly (readonly number[])[];
  /** For every prompt, its place in `list`. */
  readonly index: readonly number[];
} {
  const places = new Map<string, number>();
  const list: (readonly number[])[] = [];
  const index = prompts.map((prompt) => {
    const key = prompt.join(',');
    const place = places.get(key) ?? list.push(prompt) - 1;
    places.set(key, place);
    return place;
  });
  return { list, index };
}
