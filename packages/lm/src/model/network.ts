import {
  cachedAttention,
  checkpoint,
  currentEngine,
  type Engine,
  iota,
  nameScope,
  pagedAttention,
  selfAttention,
  type Tensor,
  type TokenTree,
  zerosBuffer,
} from '@posttrain/core-tensor';
import type { QuantizedFormat } from '@posttrain/core-tensor/quantization';
import { PosttrainError } from '@posttrain/interfaces';
import { DECODER_TYPES } from '../config/decoder-config.js';
import type { DecoderType, ModelConfig } from '../config/index.js';
import { decoder } from './decoder.js';
import { bindLayers, type LayerAttention, type ModelFamily, normsOf, type ParameterInfo } from './family.js';
import { gemma } from './gemma.js';
import { gpt2 } from './gpt2.js';
import { HeadError, withHeadModules, withHeadParameters } from './head.js';
import { type KeysAndValues, type KvCache, type KvCacheDtype, mapCache, type WindowedInput } from './kv-cache.js';
import type { KeyValuePrefix, LayerHooks, ModuleInfo, NormInfo, PassInfo, Weights } from './layers.js';
import { olmo2 } from './olmo2.js';
import { bindOutputLayer, HEAD_BIAS, headMatrix, type OutputLayer } from './output-layer.js';
import { phi3 } from './phi3.js';
import {
  type Attended,
  attendBehind,
  prefixesOf,
  prefixOf,
  recentBehind,
  refuseEarlierPass,
  virtualPass,
} from './prefix.js';
import { type RecentTokens, recentOfBlocks, recentOfCache, recentOfRows } from './recent-tokens.js';
import type { LayerState, StateShape, StateSlots } from './recurrence/layer-state.js';
import { emptyState, readState, writeState } from './recurrence/state-cache.js';
import { rotaryDecoder } from './rotary-decoder.js';

/** By `modelType`. A family is only ever given the configs of its own. */
const FAMILIES: Readonly<Record<ModelConfig['modelType'], ModelFamily<never>>> = {
  llama: rotaryDecoder,
  mistral: rotaryDecoder,
  mixtral: rotaryDecoder,
  qwen2: rotaryDecoder,
  qwen3: rotaryDecoder,
  qwen3_moe: rotaryDecoder,
  gpt2,
  gemma2: gemma,
  gemma3_text: gemma,
  phi3,
  olmo2,
  ...(Object.fromEntries(DECODER_TYPES.map((type) => [type, decoder])) as Record<DecoderType, typeof decoder>),
};

const NO_TREES = 'this model has recurrent layers, whose state is of one sequence of tokens and not of a tree';

const familyOf = ({ modelType }: ModelConfig): ModelFamily => FAMILIES[modelType] as ModelFamily;

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

const isWindowed = ({ slidingWindow }: LayerAttention): boolean => slidingWindow !== undefined;

/** A network with weights of its own: what scoring, sampling and searching need of a model. */
export interface RunnableModel {
  readonly network: Network;
  readonly weights: Weights;
}

/**
 * The network of a config. `quantized` says how the weights of linear layers and of the output layer are stored, by their
 * names; `engine` is what it computes on.
 */
export function networkOf(
  config: ModelConfig,
  quantized: ReadonlyMap<string, QuantizedFormat> = new Map(),
  engine: Engine = currentEngine(),
): Network {
  const family = familyOf(config);
  const modules = new Map(
    withHeadModules(config, family.modules(config)).map((module): [string, ModuleInfo] => {
      const quantization = quantized.get(module.name);
      return [module.name, quantization ? { ...module, quantization } : module];
    }),
  );
  const { layers, kvHeads, headDim, widths, hasKeys, states = [] } = family.cacheShape(config);
  const withKeys = Array.from({ length: layers }, (_, layer) => layer).filter((layer) => hasKeys?.[layer] ?? true);
  const allWidths = withKeys.map((layer) => widths?.[layer] ?? headDim);
  const stateShapes = states.filter((shape) => shape !== undefined);
  /** By layer, which of those that have some it is. */
  const [keysAt, stateAt] = [
    new Map(withKeys.map((layer, at) => [layer, at])),
    new Map([...states.keys()].filter((layer) => states[layer]).map((layer, at) => [layer, at])),
  ];
  const attention = Array.from({ length: layers }, (_, layer) => family.attention(config, layer));
  const logitSoftCap = family.logitSoftCap?.(config);
  const logitFactor = family.logitFactor?.(config) ?? 1;

  const parameters = withHeadParameters(config, family.parameters(config));
  const ownParts = { config, family, modules, attention };

  const zeroCache = (shape: readonly number[], widths: readonly number[] = allWidths): KvCache => {
    const all = () => widths.map((width) => zerosBuffer([...shape, width]));
    return { keys: all(), values: all() };
  };
  type Extension = Pick<
    PagedInput,
    'tokens' | 'lengths' | 'cache' | 'rowInputs' | 'tree' | 'innerLayers' | 'stateSlots'
  >;
  type Past = { readonly [Key in keyof KeysAndValues]: NonNullable<KeysAndValues[Key]>[number] };
  type AttendTo = (past: Past, qkv: Attended, how: LayerAttention) => Past & { readonly output: Tensor };
  const pastOf = ({ keys, values, keyScales, valueScales }: KvCache, layer: number): Past => {
    const at = keysAt.get(layer)!;
    return {
      ...{ keys: keys[at]!, values: values[at]! },
      ...(keyScales && valueScales && { keyScales: keyScales[at]!, valueScales: valueScales[at]! }),
    };
  };
  /** What a cache gives to new tokens, which are appended to it. */
  interface Appending {
    readonly attend: AttendTo;
    /** Tokens of each row that are no padding. Left out: all. */
    readonly counts?: Tensor;
    recent(past: Past, x: Tensor, taps: number): RecentTokens;
  }
  const extendOnce = (
    weights: Weights,
    { tokens, lengths, cache, tree, rowInputs, innerLayers = [], stateSlots }: Extension,
    hooks: LayerHooks,
    to: Appending,
  ): ExtendedPass => {
    refuseEarlierPass(hooks);
    if (tree && stateShapes.length > 0) throw new PosttrainError('TOKEN_TREE', NO_TREES);
    const after: LayerState[] = [];
    const [b, s] = tokens.shape as [number, number];
    const layersOf: Past[] = [];
    // Learned positions end at the limit, even for padding.
    const positions = lengths
      .reshape([b, 1])
      .add(tree?.depths ?? iota([1, s], 1))
      .minimum(config.maxPositionEmbeddings - 1);
    const ofTokens = Object.entries(rowInputs ?? {}).map(([name, x]) => [name, x.reshape([b, 1]).broadcastTo([b, s])]);
    const pass = { positions, inputs: Object.fromEntries(ofTokens) };
    const states: Tensor[] = [];
    const hidden = family.hidden(config, bindLayers(weights, modules, hooks, pass), {
      tokens,
      positions,
      block(name, run, x) {
        states.push(x);
        return nameScope(name, () => run(x));
      },
      recent(layer, x, taps) {
        const { found, keys, values } = to.recent(pastOf(cache, layer), x, taps);
        layersOf.push({ keys, values });
        return found;
      },
      recur(layer, run) {
        const at = stateAt.get(layer)!;
        const { counts } = to;
        const state = readState(cache.states![at]!, stateShapes[at]!, lengths, stateSlots);
        const { output, state: next } = run({ state, ...(counts && { counts }) });
        after.push(writeState(cache.states![at]!, next, stateSlots));
        return output;
      },
      attend(layer, q, k, v, sinks) {
        const { output, ...own } = to.attend(
          pastOf(cache, layer),
          { q, k, v, ...(sinks && { sinks }) },
          attention[layer]!,
        );
        layersOf.push(own);
        return output;
      },
    });
    const extended = mapCache(cache, (_, key) => layersOf.map((own) => own[key]!));
    const inner = innerLayers.map((layer) => states[layer]!);
    return { hidden, cache: { ...extended, ...(after.length > 0 && { states: after }) }, inner };
  };
  const extendBy = (weights: Weights, input: Extension, hooks: LayerHooks = {}, to: Appending): ExtendedPass => {
    const { earlier } = hooks;
    const { cache } = input;
    const hasOnePass = cache.keys.length === layers || stateShapes.length > 0;
    if (!earlier || hasOnePass) return extendOnce(weights, input, hooks, to);
    const part = (from: number) => mapCache(cache, (tensors) => tensors.slice(from, from + layers));
    const before = extendOnce(weights, { ...input, cache: part(layers), innerLayers: [] }, earlier.hooks, to);
    const after = extendOnce(weights, { ...input, cache: part(0) }, earlier.hooksAfter(before.hidden), to);
    return { ...after, cache: mapCache(after.cache, (own, key) => [...own, ...before.cache[key]!]) };
  };
  const headModule = (): ModuleInfo => {
    const info = modules.get('lm_head');
    if (info) return info;
    throw new HeadError(`${config.head?.architecture} predicts no tokens: it has no output layer.`);
  };
  const outputLayer = (weights: Weights, hidden: Tensor, hooks: LayerHooks = {}): OutputLayer =>
    bindOutputLayer(headModule(), weights, hidden, hooks, { cap: logitSoftCap, factor: logitFactor });

  /** `states`: takes what each block is given. */
  const hiddenOf = (
    weights: Weights,
    input: SequenceInput,
    hooks: LayerHooks,
    options: HiddenOptions,
    states: Tensor[] = [],
  ): Tensor => {
    if (hooks.earlier) {
      const seen = hiddenOf(weights, input, hooks.earlier.hooks, options);
      return hiddenOf(weights, input, hooks.earlier.hooksAfter(seen), options, states);
    }
    const { tokens, positions: own, segments } = input;
    const { gradientCheckpointing = false } = options;
    const prefix = prefixesOf(ownParts, weights, hooks);
    // Learned positions end at the limit, even for padding.
    const positions = prefix ? own.add(prefix.count).minimum(config.maxPositionEmbeddings - 1) : own;
    const pass = { positions, inputs: input.rowInputs ?? {} };
    return family.hidden(config, bindLayers(weights, modules, hooks, pass), {
      tokens,
      positions,
      block(name, run, x) {
        states.push(x);
        return nameScope(name, () => (gradientCheckpointing ? checkpoint(run)(x) : run(x)));
      },
      recent: (layer, x, taps) =>
        prefix ? recentBehind(prefix, { layer: keysAt.get(layer)!, x, taps }, pass) : recentOfRows(x, taps, positions),
      recur(layer, run) {
        const initial = prefix?.states[stateAt.get(layer)!];
        return run({ since: own, ...(initial && { initial }) }).output;
      },
      attend(layer, q, k, v, sinks) {
        const sunk = sinks && { sinks };
        return prefix
          ? attendBehind(prefix, { layer: keysAt.get(layer)!, q, k, v, ...sunk }, attention[layer]!, {
              segments,
              ...pass,
            })
          : selfAttention(q, k, v, { ...attention[layer]!, ...sunk, segments });
      },
    });
  };

  return {
    config,
    engine,
    logitSoftCap,
    head(weights, hooks = {}) {
      const { matrix } = headMatrix(headModule(), weights, hooks);
      if (weights[HEAD_BIAS])
        throw new HeadError(`the output layer has a bias: take outputLayer, not its matrix alone.`);
      return logitFactor === 1 ? matrix : matrix.mul(logitFactor);
    },
    outputLayer,
    parameters,
    modules,
    norms: normsOf(parameters, modules),
    prefix: (weights, hooks, inputs) => prefixOf(ownParts, weights, hooks, inputs)?.layers,
    prefixed: (weights, hooks, inputs) => prefixOf(ownParts, weights, hooks, inputs),
    virtualStates: (weights, hooks) => virtualPass(ownParts, weights, hooks).hidden,
    asVirtualTokens(weights, tokens) {
      const { name } = [...modules.values()].find(({ kind }) => kind === 'embedding')!;
      return weights[`${name}.weight`]!.gather(tokens).div(family.virtualTokenFactor?.(config) ?? 1);
    },

    hidden: (weights, input, hooks = {}, options = {}) => hiddenOf(weights, input, hooks, options),

    innerStates(weights, input, asked, hooks = {}) {
      const states: Tensor[] = [];
      hiddenOf(weights, input, hooks, {}, states);
      return asked.map((layer) => states[layer]!);
    },

    extend(weights, input, hooks) {
      const { lengths, windowed } = input;
      return extendBy(weights, input, hooks, {
        attend: ({ keys, values }, qkv, how) => {
          const own = (isWindowed(how) && windowed?.lengths) || lengths;
          return cachedAttention({ ...qkv, pastKeys: keys, pastValues: values, lengths: own }, how);
        },
        recent: (past, x, taps) => recentOfCache(x, taps, past, lengths),
      });
    },

    extendPaged(weights, input, hooks) {
      const { table, slots, blockSize, windowed, ...rest } = input;
      const { lengths, tree } = rest;
      const whole = { table, slots, lengths };
      const part = windowed && { ...whole, ...windowed };
      return extendBy(weights, rest, hooks, {
        // Padding goes into block 0.
        ...(slots.shape[1]! > 1 && { counts: slots.greaterEqual(blockSize).cast('int32').sum(1) }),
        attend(past, qkv, how) {
          const own = (isWindowed(how) && part) || whole;
          return pagedAttention({ ...qkv, ...past, ...own, ...(tree && { tree }) }, { ...how, blockSize });
        },
        recent: (past, x, taps) => recentOfBlocks(x, taps, past, input, kvHeads),
      });
    },

    logits: (weights, hidden, hooks) => outputLayer(weights, hidden, hooks).logits(),

    newCache: (batch, capacity) => ({
      ...zeroCache([batch, kvHeads, capacity]),
      ...(stateShapes.length > 0 && { states: stateShapes.map((shape) => emptyState(shape, batch)) }),
    }),
    kvHeads,
    newPools(tokens, own, dtype = 'float32') {
      const rows = kvHeads * tokens;
      const all = own?.map((at) => allWidths[at]!) ?? allWidths;
      if (dtype === 'float32') return zeroCache([rows], all);
      if (widths || allWidths.length === 0) {
        const why = widths
          ? 'some of its layers do not attend, and keep other numbers in their cache'
          : 'none of its layers attends, and states of recurrences stay floats';
        throw new PosttrainError('KV_CACHE', `kvCacheDtype "int8" is not for ${config.modelType}: ${why}`);
      }
      const codes = () => all.map((width) => zerosBuffer([rows, width], 'uint8'));
      const scales = () => all.map(() => zerosBuffer([rows, 1]));
      return { keys: codes(), values: codes(), keyScales: scales(), valueScales: scales() };
    },
    windows: withKeys.map((layer) => attention[layer]!.slidingWindow),
    cacheBytesPerToken: 2 * kvHeads * 4 * allWidths.reduce((sum, width) => sum + width, 0),
    stateShapes,
  };
}
