import { type Key, type Tensor, tensor } from '@posttrain/core-tensor';
import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import { type Adapter, NO_ADAPTER } from '../model/adapter.js';
import type { Weights } from '../model/layers.js';
import type { KvCache, Network } from '../model/network.js';
import { roundUpToPowerOfTwo, roundUpToSize } from '../model/sizes.js';
import { checkSamplerSettings, type Logits, type SampledToken, type SamplerSettings, sampleToken } from './sampler.js';
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
  /** Asked before a row's first token and after every token: whether the caller ends the row (a stop string, an abort). */
  readonly isCancelled?: (row: number) => boolean;
}

/** A prompt that leaves no room for a single generated token. */
export class ContextLengthError extends PosttrainError {
  constructor(where: string, tokens: number, limit: number) {
    super(
      'CONTEXT_LENGTH',
      `${where} has ${tokens} tokens, but the model's context holds ${limit} and at least one must be generated; shorten the prompt`,
    );
  }
}

/** Smallest padded prompt and cache, in tokens. */
const PROMPT_STEP = 16;
const CAPACITY_STEP = 64;

const int32 = (values: readonly number[]): Tensor => tensor(Int32Array.from(values), [values.length], 'int32');

/** Throws for a prompt that cannot be continued. `where` names it. */
export function checkPrompt(network: Network, prompt: readonly number[], where: string): void {
  const limit = network.config.maxPositionEmbeddings;
  if (prompt.length === 0) throw new PosttrainError('EMPTY_PROMPT', `${where} has no tokens`);
  if (prompt.length >= limit) throw new ContextLengthError(where, prompt.length, limit);
}

/**
 * Generates all rows and yields every token as it is drawn. Rows that share a prompt share its prefill. What a row
 * gets does not depend on which rows it is batched with, up to rounding of the engine.
 */
export async function* decode(
  network: Network,
  weights: Weights,
  rows: readonly DecodeRow[],
  options: DecodeOptions = {},
): AsyncGenerator<DecodeEvent> {
  assertKnownOptions('decode', options, ['adapter', 'maxBatch', 'isCancelled']);
  const { maxBatch = 64, adapter = NO_ADAPTER, isCancelled = () => false } = options;
  if (!Number.isInteger(maxBatch) || maxBatch < 1) {
    throw new PosttrainError('SAMPLING', `generate: maxBatch must be a positive integer, not ${maxBatch}`);
  }
  rows.forEach((row, i) => {
    checkSamplerSettings(row);
    checkPrompt(network, row.prompt, `prompt ${i}`);
    if (!Number.isInteger(row.maxTokens) || row.maxTokens < 1) {
      throw new PosttrainError('SAMPLING', `generate: maxTokens must be a positive integer, not ${row.maxTokens}`);
    }
  });
  // Rows of similar length together; order among equals stays, so that samples of one prompt meet.
  const order = rows.map((_, i) => i).sort((a, b) => rows[a]!.prompt.length - rows[b]!.prompt.length || a - b);
  for (let start = 0; start < order.length; start += maxBatch) {
    const members = order.slice(start, start + maxBatch).filter((row) => !isCancelled(row));
    if (members.length > 0) yield* decodeBatch(network, weights, rows, members, adapter, isCancelled);
  }
}

interface LiveRow {
  readonly row: number;
  /** Row of the cache. */
  slot: number;
  /** Tokens in the cache. */
  length: number;
  readonly generated: number[];
  /** Tokens so far, for the repetition penalty; empty where there is none. */
  readonly seen: Set<number>;
}

async function* decodeBatch(
  network: Network,
  weights: Weights,
  rows: readonly DecodeRow[],
  members: readonly number[],
  adapter: Adapter,
  isCancelled: (row: number) => boolean,
): AsyncGenerator<DecodeEvent> {
  const limit = network.config.maxPositionEmbeddings;
  const steps = generationSteps(network, adapter);
  const prompts = distinctPrompts(members.map((i) => rows[i]!.prompt));

  const extend = (cache: KvCache, inputs: readonly { tokens: readonly number[]; length: number }[]) => {
    const longest = Math.max(...inputs.map(({ tokens }) => tokens.length));
    // Learned positions end at the limit, even for padding.
    const width = longest === 1 ? 1 : Math.min(limit, roundUpToSize(longest, PROMPT_STEP));
    const grid = new Int32Array(inputs.length * width);
    inputs.forEach(({ tokens }, i) => {
      grid.set(tokens, i * width);
    });
    const lengths = int32(inputs.map(({ length }) => length));
    const counts = int32(inputs.map(({ tokens }) => tokens.length));
    const tokens = tensor(grid, [inputs.length, width], 'int32');
    return steps.extend(weights, adapter.parameters, cache, tokens, lengths, counts);
  };
  const select = (cache: KvCache, slots: number, from: readonly number[]) =>
    steps.selectRows(cache, int32(Array.from({ length: slots }, (_, i) => from[i] ?? 0)));

  // Prefill every distinct prompt once, then give each row its own copy of the cache.
  const filled = roundUpToPowerOfTwo(prompts.list.length);
  const longest = Math.max(...members.map((i) => Math.min(limit, rows[i]!.prompt.length + rows[i]!.maxTokens)));
  const padded = roundUpToSize(Math.max(...prompts.list.map((p) => p.length)), PROMPT_STEP);
  const capacity = roundUpToSize(Math.max(longest, padded), CAPACITY_STEP);
  const promptInputs = Array.from({ length: filled }, (_, i) => ({ tokens: prompts.list[i] ?? [0], length: 0 }));
  const first = await extend(network.newCache(filled, capacity), promptInputs);
  let slots = roundUpToPowerOfTwo(members.length);
  const shared = filled !== slots || prompts.index.some((prompt, i) => prompt !== i);
  let cache = shared ? await select(first.cache, slots, prompts.index) : first.cache;
  let live = members.map((row, slot): LiveRow => {
    const { prompt, repetitionPenalty } = rows[row]!;
    return { row, slot, length: prompt.length, generated: [], seen: new Set(repetitionPenalty === 1 ? [] : prompt) };
  });
  let logits = await splitRows(first.logits);
  let logitsAt = (state: LiveRow) => logits[prompts.index[state.slot]!]!;

  while (true) {
    const survivors: LiveRow[] = [];
    for (const state of live) {
      const row = rows[state.row]!;
      const drawn = drawNext(row, state, logitsAt(state));
      state.generated.push(drawn.token);
      if (row.repetitionPenalty !== 1) state.seen.add(drawn.token);
      const full = state.generated.length >= row.maxTokens || state.length + 1 >= limit;
      const finish = row.isEnd(drawn.token) ? 'stop' : full ? 'length' : undefined;
      yield { row: state.row, ...drawn, finish };
      if (!finish && !isCancelled(state.row)) survivors.push(state);
    }
    live = survivors;
    if (live.length === 0) return;
    if (roundUpToPowerOfTwo(live.length) < slots) {
      slots = roundUpToPowerOfTwo(live.length);
      const kept = live.map((state) => state.slot);
      cache = await select(cache, slots, kept);
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

function drawNext(row: DecodeRow, state: LiveRow, logits: Logits): SampledToken {
  const uniform = row.temperature === 0 ? 0 : row.key.child(state.generated.length).uniformHost(1)[0]!;
  return sampleToken(logits, row, state.seen, uniform);
}

async function splitRows(logits: Tensor): Promise<Logits[]> {
  const [count, width] = logits.shape as [number, number];
  const data = (await logits.data()) as Logits;
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
