import { type Tensor, tensor } from '@posttrain/core-tensor';
import { integer } from '@posttrain/interfaces';
import type { Adapter } from '../model/adapter.js';
import type { KvCache } from '../model/kv-cache.js';
import type { Network, PagedInput } from '../model/network.js';
import { statePools } from '../model/recurrence/state-cache.js';
import { roundUpToSize } from '../model/sizes.js';
import { BLOCK_SIZE } from '../runner/paged-steps.js';

/**
 * Chunked prefill: tokens of a sequence longer than `maxTokensPerPass` that are computed at a time, over the keys and values of those before
 * them. Fewer take less memory. Default 1024.
 */
export const prefillChunk = integer({ default: 1024, min: 1, decisive: false });

/** Whether a sequence of so many tokens is computed in pieces: what adapters have before it, or read of it, is known to whole passes only. */
export const goesInPieces = (
  length: number,
  limits: { readonly maxTokensPerPass: number; readonly prefillChunk: number },
  { virtualTokens, earlierPass, rowInputs }: Pick<Adapter, 'virtualTokens' | 'earlierPass' | 'rowInputs'>,
): boolean =>
  length > Math.max(limits.maxTokensPerPass, limits.prefillChunk) && !virtualTokens && !earlierPass && !rowInputs;

/** A piece of one sequence, as `Network.extendPaged` takes it. */
export type PieceInput = Pick<PagedInput, 'tokens' | 'lengths' | 'table' | 'slots' | 'stateSlots'>;

/**
 * Computes a sequence piece by piece over a cache of its own, states of recurrent layers included: memory is linear in its length. Every
 * piece sees the table of what is behind it, whose sizes are few.
 *
 * @param run computes tokens `from` … `to - 1`, padded to `chunk`, and gives the cache with them in it
 */
export async function inPieces(
  network: Network,
  sequence: readonly number[],
  chunk: number,
  run: (cache: KvCache, input: PieceInput, from: number, to: number) => Promise<KvCache>,
): Promise<void> {
  const { length } = sequence;
  // Block 0 is nobody's: the padding goes there.
  const pools = network.newPools(BLOCK_SIZE * (1 + Math.ceil(length / BLOCK_SIZE)));
  const isRecurrent = network.stateShapes.length > 0;
  // One state, which every piece writes over.
  const states = network.stateShapes.map((shape) => statePools(shape, 1));
  let cache: KvCache = isRecurrent ? { ...pools, states } : pools;
  const blocks = Math.ceil(length / BLOCK_SIZE);
  for (let from = 0; from < length; from += chunk) {
    const to = Math.min(length, from + chunk);
    const tokens = new Int32Array(chunk);
    tokens.set(sequence.slice(from, to));
    const slots = Int32Array.from({ length: chunk }, (_, i) => (from + i < to ? BLOCK_SIZE + from + i : 0));
    const width = Math.ceil(roundUpToSize(to, chunk) / BLOCK_SIZE);
    const table = Int32Array.from({ length: width }, (_, i) => (i < blocks ? i + 1 : 0));
    const input = {
      tokens: row(tokens),
      slots: row(slots),
      table: row(table),
      lengths: tensor(Int32Array.of(from)),
      ...(isRecurrent && { stateSlots: { from: tensor(Int32Array.of(0)), to: tensor(Int32Array.of(0)) } }),
    };
    cache = await run(cache, input, from, to);
  }
}

const row = (values: Int32Array): Tensor => tensor(values, [1, values.length]);
