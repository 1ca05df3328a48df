import type { Engine, Tensor, TokenTree } from '@posttrain/core-tensor';
import type { ModelConfig } from '../config/index.js';
import type { ParameterInfo } from './family.js';
import type { KvCache, KvCacheDtype, WindowedInput } from './kv-cache.js';
import type { KeyValuePrefix, LayerHooks, ModuleInfo, NormInfo, PassInfo, Weights } from './layers.js';
import type { OutputLayer } from './output-layer.js';
import type { LayerState, StateShape, StateSlots } from './recurrence/layer-state.js';

/** Paged attention: new tokens of rows whose past is in a paged cache; see `PagedAttentionInputs`. */
export interface PagedInput {
  /** int32 [b, s]. */
  readonly tokens: Tensor;
  /** int32 [b]: tokens that each row has in the cache. */
  readonly lengths: Tensor;
  /** int32 [b, w]: the blocks of each row. */
  readonly table: Tensor;
  /** int32 [b, s]: where in the pools the new tokens go. */
  readonly slots: Tensor;
  /** New tokens that are a tree and no sequence. */
  readonly tree?: TokenTree;
  /** Where layers with sliding windows have less of each row's past than the others. Left out: they have all. */
  readonly windowed?: WindowedInput;
  readonly cache: KvCache;
  /** Where the states of recurrences are in the cache's pools. */
  readonly stateSlots?: StateSlots;
  /** Tokens in a block. */
  readonly blockSize: number;
  /** int32 [b] each: `Adapter.rowInputs` of each row. Left out: none. */
  readonly rowInputs?: Readonly<Record<string, Tensor>> | undefined;
  /** The layers whose hidden states are asked for: see `Network.innerStates`. Left out: none. */
  readonly innerLayers?: readonly number[];
}

/** What a pass over new tokens gives. */
export interface ExtendedPass {
  /** Final, normalised hidden states [b, s, width]. */
  readonly hidden: Tensor;
  readonly cache: KvCache;
  /** Of each of `innerLayers`, as `Network.innerStates` has them. */
  readonly inner: readonly Tensor[];
}

/** A batch of sequences as the network takes it. */
export interface SequenceInput {
  /** int32 [b, s]. */
  readonly tokens: Tensor;
  /** int32 [b, s]: position of each token in its own sequence; restarts where packed sequences meet. */
  readonly positions: Tensor;
  /** int32 [b, s]: tokens see earlier tokens of the same segment only. Padding has a segment of its own. */
  readonly segments: Tensor;
  /** [b, s, width] by name: what a network reads beside the tokens, or in their place. Those of this package read none. */
  readonly inputs?: Readonly<Record<string, Tensor>>;
  /** int32 [b, s] each: `Adapter.rowInputs` of the sequence that each token belongs to. Left out: none. */
  readonly rowInputs?: Readonly<Record<string, Tensor>> | undefined;
}

/** Options of `Network.hidden`. */
export interface HiddenOptions {
  /**
   * Gradient checkpointing: of every transformer block, keep the input only, and recompute the rest for the gradient:
   * less memory for about a third more time, and the same numbers. Default false.
   */
  readonly gradientCheckpointing?: boolean;
}

/**
 * A model as pure functions of its weights: what training and generation are traced from. Its shape is known, its
 * numbers are not.
 */
export interface Network {
  readonly config: ModelConfig;
  /** What everything that is compiled for this network computes on, whichever engine is set meanwhile. */
  readonly engine: Engine;
  readonly parameters: readonly ParameterInfo[];
  /** Every place where an adapter can enter, by module path. */
  readonly modules: ReadonlyMap<string, ModuleInfo>;
  /** Every normalisation, by module path. */
  readonly norms: ReadonlyMap<string, NormInfo>;
  /** Final hidden states [b, s, width] of whole sequences (training, scoring). */
  hidden(weights: Weights, input: SequenceInput, hooks?: LayerHooks, options?: HiddenOptions): Tensor;
  /**
   * The residual stream [b, s, width] of whole sequences after each of these layers, not normalised: 0 is what the first block
   * is given, i what block i (from 1) gives; transformers' `hidden_states` below the last.
   */
  innerStates(weights: Weights, input: SequenceInput, layers: readonly number[], hooks?: LayerHooks): Tensor[];
  /**
   * Final hidden states [b, s, width] of new tokens int32 [b, s] appended to rows that already have `lengths` int32
   * [b] tokens in the cache, and the cache with them in it. For hooks with an earlier pass the cache has twice the layers:
   * behind those of the pass itself the earlier one's.
   */
  extend(
    weights: Weights,
    input: Pick<PagedInput, 'tokens' | 'lengths' | 'cache' | 'rowInputs' | 'innerLayers' | 'windowed' | 'stateSlots'>,
    hooks?: LayerHooks,
  ): ExtendedPass;
  /** `extend` over a cache in blocks. @throws PosttrainError for a tree where there are recurrences */
  extendPaged(weights: Weights, input: PagedInput, hooks?: LayerHooks): ExtendedPass;
  /**
   * The keys and values, by layer, that hooks put before a sequence, which says `inputs` int32 [1] of itself where they depend on
   * that; undefined where they put none. `hidden` does so by itself. `extend` and `extendPaged` do not: they find them in the
   * cache, where whoever begins a sequence puts them.
   */
  prefix(weights: Weights, hooks: LayerHooks, inputs?: PassInfo['inputs']): readonly KeyValuePrefix[] | undefined;
  /** The same with the states of recurrences behind it. */
  prefixed(
    weights: Weights,
    hooks: LayerHooks,
    inputs?: PassInfo['inputs'],
  ): { readonly layers: readonly KeyValuePrefix[]; readonly states: readonly LayerState[] } | undefined;
  /**
   * Final hidden states [kinds, v, width] of the virtual tokens of hooks, which see only each other: what predicts a token of a context
   * that they stand for. One kind where they have no kinds.
   */
  virtualStates(weights: Weights, hooks: LayerHooks & Required<Pick<LayerHooks, 'virtualTokens'>>): Tensor;
  /** `LayerHooks.virtualTokens` [v, width] that are what these tokens int32 [v] are to the model. */
  asVirtualTokens(weights: Weights, tokens: Tensor): Tensor;
  /**
   * The matrix [vocabulary, width] of the output layer, in float32 where it is quantised. Logits are more than a product
   * with it where `logitSoftCap` is there, or where it is quantised and rounds its inputs: `outputLayer` has all of it. What
   * multiplies all logits of a family multiplies this.
   *
   * @throws HeadError for a classifier, which has none, and where there is a bias
   */
  head(weights: Weights, hooks?: LayerHooks): Tensor;
  /**
   * Logit soft cap: logits become cap · tanh(logits / cap); undefined without one. `tokenLogProbs` takes it as `softCap`.
   */
  readonly logitSoftCap: number | undefined;
  /** The output layer over final hidden states [..., width]: what scoring takes logits from chunk by chunk. @throws HeadError */
  outputLayer(weights: Weights, hidden: Tensor, hooks?: LayerHooks): OutputLayer;
  /** Logits [n, vocabulary] of final hidden states [n, width]; those of a quantised output layer come from its codes. */
  logits(weights: Weights, hidden: Tensor, hooks?: LayerHooks): Tensor;
  /** An empty cache in memory of its own. */
  newCache(batch: number, capacity: number): KvCache;
  readonly kvHeads: number;
  /**
   * Pools for `tokens` tokens of these of the layers that have keys and values (default: all), in memory of their own: see
   * `PagedAttentionInputs`. States of recurrences are not among them.
   *
   * @throws PosttrainError for `int8` where layers do not attend, and have something else in the place of keys and values, or where none has any
   */
  newPools(tokens: number, layers?: readonly number[], dtype?: KvCacheDtype): KvCache;
  /** The sliding window of each layer that has keys and values; undefined where it sees all. */
  readonly windows: readonly (number | undefined)[];
  /** Cache bytes of a token. 0 where no layer attends. */
  readonly cacheBytesPerToken: number;
  /** The states of the layers that have a recurrence, one after the other, without the axis of rows. */
  readonly stateShapes: readonly StateShape[];
}

/** A network with weights of its own: what scoring, sampling and searching need of a model. */
export interface RunnableModel {
  readonly network: Network;
  readonly weights: Weights;
}
