import { type Adapter, NO_ADAPTER, sameAdapter } from '../model/adapter.js';
import type { RunnableModel } from '../model/network.js';
import type { CachedSequence } from './extend-inputs.js';
import { returnRunner, takeRunner } from './idle-runners.js';
import type { ModelRunner } from './model-runner.js';

/** A row of somebody else's generation. */
export interface FollowedRow {
  /** Names the row from its first call to its `release`. */
  readonly id: number;
  readonly prompt: readonly number[];
  readonly generated: readonly number[];
  /** Default: none. */
  readonly adapter?: Adapter | undefined;
}

/** A row as a follower has it. */
export interface FollowedSequence {
  readonly sequence: CachedSequence;
  readonly adapter: Adapter;
  /** What the row has and the sequence lacks: at least the last token. */
  readonly pending: readonly number[];
}

/**
 * A model that keeps up with rows whose tokens another one draws (a draft, an amateur, a teacher), with a cache of its own:
 * prompts are computed once, whoever shares them, and what has become of a row is found by comparison.
 */
export class RowFollower {
  readonly runner: ModelRunner;
  readonly #sequences = new Map<number, CachedSequence>();

  constructor({ network, weights }: RunnableModel, cacheTokens: number) {
    this.runner = takeRunner(network, weights, { cacheTokens });
  }

  /** The sequences of rows, new ones with their prompts computed. @throws OutOfBlocksError; it can be asked again then */
  async follow(rows: readonly FollowedRow[]): Promise<FollowedSequence[]> {
    await this.#prefill(rows);
    return rows.map((row) => {
      const sequence = this.#sequences.get(row.id)!;
      return { sequence, adapter: row.adapter ?? NO_ADAPTER, pending: this.#catchUp(sequence, row) };
    });
  }

  /** The logits after the last token of each row, valid until the next call. @throws OutOfBlocksError, as `follow` */
  async logits(rows: readonly FollowedRow[]): Promise<Float32Array[]> {
    const followed = await this.follow(rows);
    const inputs = followed.map(({ sequence, adapter, pending }) => ({ sequence, adapter, tokens: pending }));
    return (await this.runner.extend(inputs)).map(({ logits }) => logits[0]!);
  }

  release(id: number): void {
    const sequence = this.#sequences.get(id);
    if (sequence) this.runner.release(sequence);
    this.#sequences.delete(id);
  }

  close(): void {
    for (const id of [...this.#sequences.keys()]) this.release(id);
    returnRunner(this.runner);
  }

  /** Computes the prompts of new rows, one that several have only once. */
  async #prefill(rows: readonly FollowedRow[]): Promise<void> {
    const groups: FollowedRow[][] = [];
    const byPrompt = new Map<string, FollowedRow[][]>();
    for (const row of rows) {
      if (this.#sequences.has(row.id)) continue;
      const known = byPrompt.get(row.prompt.join()) ?? [];
      const same = known.find(([one]) => sameAdapter(one!.adapter ?? NO_ADAPTER, row.adapter ?? NO_ADAPTER));
      if (same) {
        same.push(row);
        continue;
      }
      groups.push([row]);
      byPrompt.set(row.prompt.join(), [...known, groups.at(-1)!]);
    }
    const inputs = groups.map(([first]) => {
      const { id, prompt, adapter = NO_ADAPTER } = first!;
      const sequence = this.runner.start(prompt, adapter);
      this.#sequences.set(id, sequence);
      return { sequence, tokens: prompt.slice(sequence.length), adapter };
    });
    if (inputs.length > 0) await this.runner.extend(inputs);
    for (const [first, ...others] of groups) {
      for (const { id } of others) this.#sequences.set(id, this.runner.fork(this.#sequences.get(first!.id)!));
    }
  }

  /** Cuts a sequence back to what the row has become, and gives what it lacks: at least the last token. */
  #catchUp(sequence: CachedSequence, { prompt, generated }: FollowedRow): number[] {
    let same = Math.min(prompt.length, sequence.length);
    while (same < sequence.length && sequence.tokens[same] === generated[same - prompt.length]) same++;
    same = Math.min(same, prompt.length + generated.length - 1);
    if (same < sequence.length) this.runner.truncate(sequence, same);
    // Less than the prompt is there when its pass found no room.
    return [...prompt.slice(same), ...generated.slice(Math.max(0, same - prompt.length))];
  }
}
