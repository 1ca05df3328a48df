import type { Weights } from '../model/layers.js';
import type { Network } from '../model/network.js';
import { type FollowedRow, RowFollower } from '../runner/row-follower.js';
import type { DecodeRow } from '../sampling/decode-row.js';
import { innerLayersOf, type LogitsFrom } from '../sampling/decoding-mix.js';
import type { Logits } from '../sampling/sampler.js';

/** A row that may have a mix. */
interface MixedRow {
  readonly id: number;
  readonly row: DecodeRow;
  readonly state: { readonly generated: readonly number[] };
}

/** What the rows of a pass are mixed with. */
export interface RowMixes {
  /** The layers that their mixes ask the pass for, each once. */
  readonly innerLayers: readonly number[];
  /**
   * What a row is drawn from in the place of the policy's logits; undefined where it has no mix.
   *
   * @param inner of `innerLayers`, at the same place
   */
  mixed(row: MixedRow, policy: Logits, inner: readonly Logits[] | undefined): Logits | undefined;
}

/** The models of the rows' mixes, in step with them: one pass of each model for all rows that it has a part in. */
export class RowMixer {
  readonly #network: Network;
  readonly #cacheTokens: number;
  /** A model that a mix names twice (with two adapters, say) has two sequences of a row. */
  readonly #followers = new Map<Weights, RowFollower[]>();

  /** `network`: the policy's. `cacheTokens`: what the cache of each model holds. */
  constructor(network: Network, cacheTokens: number) {
    this.#network = network;
    this.#cacheTokens = cacheTokens;
  }

  /** A pass of each model of the rows' mixes, valid until the next call. @throws OutOfBlocksError */
  async mixesOf(rows: readonly MixedRow[]): Promise<RowMixes> {
    const others = await this.#logits(rows);
    const asked = rows.flatMap(({ row: { mix } }) => (mix ? innerLayersOf(this.#network, mix) : []));
    const innerLayers = [...new Set(asked)].sort((a, b) => a - b);
    return {
      innerLayers,
      mixed: ({ id, row: { mix } }, policy, inner = []) =>
        mix?.combine(
          policy,
          // What a larger vocabulary has behind the policy's is padding: see `checkMix`.
          others.get(id)!.map((other) => other.subarray(0, policy.length)),
          innerLayersOf(this.#network, mix).map((layer) => inner[innerLayers.indexOf(layer)]!),
        ),
    };
  }

  /** The logits of each model of each row's mix, by the row's name. */
  async #logits(rows: readonly MixedRow[]): Promise<ReadonlyMap<number, readonly Logits[]>> {
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
