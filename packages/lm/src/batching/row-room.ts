import { type Adapter, contextOf } from '../model/adapter.js';
import type { CachedSequence, ExtendInput } from '../runner/extend-inputs.js';
import type { ModelRunner } from '../runner/model-runner.js';
import { BLOCK_SIZE } from '../runner/paged-steps.js';
import type { DecodeRow } from '../sampling/decode-row.js';
import { mostTokensOf } from '../sampling/decoding-mix.js';
import type { RowState } from '../sampling/draw-next.js';

/** A row that waits or generates. */
export interface Scheduled {
  readonly id: number;
  readonly row: DecodeRow;
  readonly adapter: Adapter;
  /** The temperature of the softmax that its tokens are drawn with, if the engine had better compute it. */
  readonly asks: Pick<ExtendInput, 'temperature'>;
  readonly isCancelled: () => boolean;
  readonly state: RowState;
  /** Undefined while its prompt is computed. */
  sequence: CachedSequence | undefined;
  /** The state that its last token was drawn from, where the proposer reads it. */
  hidden: Float32Array | undefined;
}

/** What rows begin with, while it is being computed for all of them. */
export interface Prefill {
  /** The prompt, and what the row had generated when it had to make room. */
  readonly tokens: readonly number[];
  readonly adapter: Adapter;
  sequence: CachedSequence;
  /** Tokens that the cache had when it began. */
  found: number;
  readonly members: Scheduled[];
  /** It waits for a prompt before it, which computes what both begin with. */
  isHeld: boolean;
}

/** Watermark: blocks reserved for a row beyond those it holds, capped at what it can still come to use. */
const BLOCKS_AHEAD = 4;

/** How much of a runner's cache rows have, may come to need, and are left. */
export class RowRoom {
  readonly #runner: ModelRunner;

  constructor(runner: ModelRunner) {
    this.#runner = runner;
  }

  /** Free blocks above the watermarks of all rows. */
  freeBlocks(prefills: readonly Prefill[], running: readonly Scheduled[]): number {
    let free = this.#runner.freeTokens / BLOCK_SIZE;
    for (const { tokens, sequence, members, adapter } of prefills) {
      const virtual = sequence.length === 0 ? virtualOf(adapter) : 0;
      free -= Math.ceil((virtual + tokens.length - sequence.length) / BLOCK_SIZE);
      for (const member of members) free -= this.blocksAhead(member);
    }
    for (const one of running) free -= this.blocksAhead(one);
    return free;
  }

  /** A row's watermark; one block of it is for copy-on-write of a shared block, until that has happened. */
  blocksAhead({ row, state, sequence }: Scheduled): number {
    const present = Math.ceil((virtualOf(row.adapter) + row.prompt.length + state.generated.length) / BLOCK_SIZE);
    return Math.min(BLOCKS_AHEAD, this.mostBlocks(row) - 1 - present) + Number(sequence === undefined);
  }

  /** Tokens that a row may generate. */
  mostTokens({ prompt, maxTokens, adapter, mix }: DecodeRow): number {
    const own = contextOf(this.#runner.network.config, adapter) - prompt.length;
    return Math.min(maxTokens, own, mix ? mostTokensOf(mix.models, prompt) : own);
  }

  /** Tokens that a row's proposal may have, those of a tree that come to nothing included. */
  ofProposal({ row, sequence }: Scheduled): number {
    return (this.mostBlocks(row) - 1) * BLOCK_SIZE - virtualOf(row.adapter) - sequence!.length - 1;
  }

  /** The most that a row can come to need, its prompt not shared; and one block for the copy of a shared one. */
  mostBlocks({ prompt, maxTokens, adapter }: DecodeRow): number {
    const limit = this.#runner.network.config.maxPositionEmbeddings;
    return Math.ceil(Math.min(limit, virtualOf(adapter) + prompt.length + maxTokens) / BLOCK_SIZE) + 1;
  }
}

export const virtualOf = (adapter: Adapter | undefined): number => adapter?.virtualTokens ?? 0;
