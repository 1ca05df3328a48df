import { assertKnownOptions } from '@posttrain/interfaces';
import { type Adapter, adapterFor } from '../model/adapter.js';
import type { Weights } from '../model/layers.js';
import type { Network } from '../model/network.js';
import { returnRunner, takeRunner } from '../runner/idle-runners.js';
import { explained } from '../runner/non-finite.js';
import { checkRow, type DecodeRow } from '../sampling/decode-row.js';
import type { DrawnToken } from '../sampling/draw-next.js';
import { Scheduler } from './scheduler.js';

/** A token as `decode` yields it, with the row it belongs to. */
export interface DecodeEvent extends DrawnToken {
  /** Position in the list of rows. */
  readonly row: number;
  /** Why the row ended with this token; undefined while it goes on. */
  readonly finish: 'stop' | 'length' | undefined;
}

/** Options of `decode`: how many rows run together, what their cache may hold, and who ends them. */
export interface DecodeOptions {
  /** Of rows that have none of their own. Default: none. */
  readonly adapter?: Adapter;
  /** Rows decoded together. Default 64. */
  readonly maxBatch?: number;
  /** Most tokens that the key/value cache holds; rows wait when it is full. Default: as many as 1 GiB holds. */
  readonly cacheTokens?: number;
  /** Asked before a row's first token and after every token: whether the caller ends the row (a stop string, an abort). */
  readonly isCancelled?: (row: number) => boolean;
}

/** Prompt tokens computed at a time: nobody waits for the first row, so that prompts come before tokens. */
const PREFILL_TOKENS = 4096;

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
  assertKnownOptions('decode', options, ['adapter', 'maxBatch', 'cacheTokens', 'isCancelled']);
  const { maxBatch = 64, adapter, cacheTokens, isCancelled = () => false } = options;
  rows.forEach((row, i) => {
    checkRow(network, row, `prompt ${i}`);
  });
  const runner = takeRunner(network, weights, cacheTokens === undefined ? {} : { cacheTokens });
  const scheduler = new Scheduler(runner, { maxBatch, prefillTokens: PREFILL_TOKENS });
  try {
    // Rows of similar length together; order among equals stays, so that samples of one prompt meet.
    const order = rows.map((_, i) => i).sort((a, b) => rows[a]!.prompt.length - rows[b]!.prompt.length || a - b);
    for (const i of order) {
      const row = rows[i]!;
      const own = row.adapter ?? adapter;
      const bound = own && !row.adapter?.inputs ? { adapter: adapterFor(own, row.prompt) } : {};
      scheduler.add({ ...row, ...bound }, () => isCancelled(i));
    }
    await runner.reserve(mostTokens(rows, maxBatch));
    while (scheduler.size > 0) {
      for (const { id, error, ...event } of await scheduler.step()) {
        if (error !== undefined)
          throw await explained(error, { weights, adapter: rows[order[id]!]!.adapter ?? adapter });
        yield { row: order[id]!, ...event };
      }
    }
  } finally {
    scheduler.close();
    returnRunner(runner);
  }
}

/** Room for the longest rows at once, as if none shared a prompt. */
function mostTokens(rows: readonly DecodeRow[], maxBatch: number): number {
  const lengths = rows.map(({ prompt, maxTokens }) => prompt.length + maxTokens).sort((a, b) => b - a);
  return lengths.slice(0, maxBatch).reduce((sum, length) => sum + length + 32, 0);
}
