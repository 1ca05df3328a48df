import type { Weights } from '../model/layers.js';
import { type FollowedRow, RowFollower } from '../runner/row-follower.js';
import type { DecodeRow } from '../sampling/decode-row.js';
import type { LogitsFrom } from '../sampling/decoding-mix.js';
import type { Logits } from '../sampling/sampler.js';

/** A row that may have a mix. */
interface MixedRow {
  readonly id: number;
  readonly row: DecodeRow;
  readonly state: { readonly generated: readonly number[] };
}

/** The models of the rows' mixes, in step with them: one pass of each model for all rows that it has a part in. */
export class RowMixer {
  readonly #cacheTokens: number;
  /** A model that a mix names twice (with two adapters, say) has two sequences of a row. */
  readonly #followers = new Map<Weights, RowFollower[]>();

  /** `cacheTokens`: what the cache of each model holds. */
  constructor(cacheTokens: number) {
    this.#cacheTokens = cacheTokens;
  }

  /** The logits of each model of each row's mix, by the row's name, valid until the next call. @throws OutOfBlocksError */
  async logits(rows: readonly MixedRow[]): Promise<ReadonlyMap<number, readonly Logits[]>> {
    const asked = new Map<RowFollower, { readonly row: FollowedRow; readonly put: (logits: Logits) => void }[]>();
    const results = new Map<number, Logits[]>();
    for (const { id, row, state } of rows) {
      if (!row.mix) continue;
      const own: Logits[] = [];
      results.set(id, own);
      const used = new Map<Weights, number>();
      for (const [i, from] of row.mix.models.entries()) {
        const follower = this.#followerOf(from, used);
        const { prompt = row.prompt, adapter } = from;
        const list = asked.get(follower) ?? [];
        asked.set(follower, list);
        list.push({
          row: { id, prompt, generated: state.generated, adapter },
          put: (logits) => {
            own[i] = logits;
          },
        });
      }
    }
    for (const [follower, list] of asked) {
      const logits = await follower.logits(list.map(({ row }) => row));
      for (const [i, { put }] of list.entries()) put(logits[i]!);
    }
    return results;
  }

  release(id: number): void {
    for (const follower of [...this.#followers.values()].flat()) follower.release(id);
  }

  close(): void {
    for (const follower of [...this.#followers.values()].flat()) follower.close();
    this.#followers.clear();
  }

  #followerOf({ model }: LogitsFrom, used: Map<Weights, number>): RowFollower {
    const followers = this.#followers.get(model.weights) ?? [];
    this.#followers.set(model.weights, followers);
    const at = used.get(model.weights) ?? 0;
    used.set(model.weights, at + 1);
    followers[at] ??= new RowFollower(model, this.#cacheTokens);
    return followers[at];
  }
}
