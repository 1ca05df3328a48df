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
  zerosBuffer,
} from '@posttrain/core-tensor';
import type { QuantizedFormat } from '@posttrain/core-tensor/quantization';
import { PosttrainError } from '@posttrain/interfaces';
import { DECODER_TYPES } from '../config/decoder-config.js';
import type { DecoderType, ModelConfig } from '../config/index.js';
import { decoder } from './decoder.js';
import { bindLayers, type LayerAttention, type ModelFamily, normsOf } from './family.js';
import { gemma } from './gemma.js';
import { gpt2 } from './gpt2.js';
import { HeadError, withHeadModules, withHeadParameters } from './head.js';
import { type KeysAndValues, type KvCache, mapCache } from './kv-cache.js';
import type { LayerHooks, ModuleInfo, Weights } from './layers.js';
import type { ExtendedPass, HiddenOptions, Network, PagedInput, SequenceInput } from './network.js';
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
import type { LayerState } from './recurrence/layer-state.js';
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

const isWindowed = ({ slidingWindow }: LayerAttention): boolean => slidingWindow !== undefined;

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
