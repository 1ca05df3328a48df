import { type Compiled, compile, concat, type Tensor, type TokenTree, withEngine, zeros } from '@posttrain/core-tensor';
import type { CausalLM } from '../model/causal-lm.js';
import type { KvCache } from '../model/kv-cache.js';
import type { Weights } from '../model/layers.js';
import { BLOCK_SIZE } from '../runner/paged-steps.js';
import { type EagleHead, eagleHooks, eagleWeights } from './eagle-head.js';

export interface EagleStepInput {
  /** int32 [n, w]: the blocks of each row. */
  readonly table: Tensor;
  /** int32 [n, s], padded on the right. */
  readonly tokens: Tensor;
  /** int32 [n, s]: where the tokens go; padding into block 0. */
  readonly slots: Tensor;
  /** [n, s, width]. */
  readonly features: Tensor;
  /** int32 [n]: pairs that the cache has of each. */
  readonly lengths: Tensor;
  /** Of rows that draft trees. */
  readonly tree?: TokenTree;
  /** int32 [m]: which of the n · s are asked about. */
  readonly asked: Tensor;
}

interface EagleStepOutput {
  readonly cache: KvCache;
  /** f̂ [m, width]. */
  readonly features: Tensor;
  /** [m, vocabulary]. */
  readonly logits: Tensor;
}

/** What is compiled for a model and a head. */
export interface EagleSteps {
  readonly model: CausalLM;
  readonly head: EagleHead;
  readonly step: Compiled<
    [own: Weights, embedding: Tensor, target: Weights, cache: KvCache, input: EagleStepInput],
    EagleStepOutput
  >;
  /** The cache of `places` rows with room for so many rows more, and so many pairs more of each. */
  readonly grow: Compiled<[cache: KvCache, places: number, rows: number, pairs: number], { readonly cache: KvCache }>;
}

/** The cache is in blocks, those of a row one after the other: attention over blocks is the one that knows trees. */
export function eagleSteps(model: CausalLM, head: EagleHead): EagleSteps {
  const step = (
    own: Weights,
    embedding: Tensor,
    target: Weights,
    cache: KvCache,
    { features, asked, ...input }: EagleStepInput,
  ): EagleStepOutput => {
    const hooks = eagleHooks(own, features);
    const paged = { ...input, cache, blockSize: BLOCK_SIZE };
    const pass = head.network.extendPaged(eagleWeights(own, embedding), paged, hooks);
    const width = features.shape[2]!;
    const states = pass.hidden.reshape([features.size / width, width]).gather(asked, 0);
    return { cache: pass.cache, features: states, logits: model.network.logits(target, states) };
  };
  const grow = (cache: KvCache, places: number, rows: number, pairs: number) => {
    const { kvHeads } = head.network;
    const grown = (one: Tensor): Tensor => {
      const [tokens, d] = one.shape as [number, number];
      const capacity = tokens / kvHeads / places;
      const split = one.reshape([kvHeads, places, capacity, d]);
      const longer = pairs === 0 ? split : concat([split, zeros([kvHeads, places, pairs, d])], 2);
      const more = rows === 0 ? longer : concat([longer, zeros([kvHeads, rows, capacity + pairs, d])], 1);
      return more.reshape([kvHeads * (places + rows) * (capacity + pairs), d]);
    };
    return { cache: { keys: cache.keys.map(grown), values: cache.values.map(grown) } };
  };
  return withEngine(model.engine, () => ({
    ...{ model, head },
    step: compile(step, { name: 'eagle', donate: { 3: 'cache' } }),
    grow: compile(grow, { name: 'eagleGrow' }),
  }));
}
