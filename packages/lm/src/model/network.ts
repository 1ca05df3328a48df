import {
  cachedAttention,
  checkpoint,
  iota,
  nameScope,
  type QuantizedFormat,
  selfAttention,
  type Tensor,
  zerosBuffer,
} from '@posttrain/core-tensor';
import type { ModelConfig } from '../config/index.js';
import { bindLayers, type ModelFamily, type ParameterInfo } from './family.js';
import { gpt2 } from './gpt2.js';
import { HeadError, withHeadModules, withHeadParameters } from './heads/head.js';
import type { LayerHooks, ModuleInfo, Weights } from './layers.js';
import { rotaryDecoder } from './rotary-decoder.js';

function familyOf(config: ModelConfig): ModelFamily {
  // A family is only ever given the configs of its own model types.
  return (config.modelType === 'gpt2' ? gpt2 : rotaryDecoder) as ModelFamily;
}

/** Keys and values of the tokens seen so far, one tensor [b, kv, capacity, d] per layer each. */
export interface KvCache {
  readonly keys: readonly Tensor[];
  readonly values: readonly Tensor[];
}

export interface SequenceInput {
  /** int32 [b, s]. */
  readonly tokens: Tensor;
  /** int32 [b, s]: position of each token in its own sequence; restarts where packed sequences meet. */
  readonly positions: Tensor;
  /** int32 [b, s]: tokens see earlier tokens of the same segment only. Padding has a segment of its own. */
  readonly segments: Tensor;
}

export interface HiddenOptions {
  /**
   * Of every transformer block, keep the input only, and compute the rest again for the gradient: less memory for about a
   * third more time, and the same numbers. Default false.
   */
  readonly gradientCheckpointing?: boolean;
}

/**
 * A model as pure functions of its weights: what training and generation are traced from. Its shape is known, its
 * numbers are not.
 */
export interface Network {
  readonly config: ModelConfig;
  readonly parameters: readonly ParameterInfo[];
  /** Every place where an adapter can enter, by module path. */
  readonly modules: ReadonlyMap<string, ModuleInfo>;
  /** Final hidden states [b, s, width] of whole sequences (training, scoring). */
  hidden(weights: Weights, input: SequenceInput, hooks?: LayerHooks, options?: HiddenOptions): Tensor;
  /**
   * Final hidden states [b, s, width] of new tokens int32 [b, s] appended to rows that already have `lengths` int32
   * [b] tokens in the cache, and the cache with them in it.
   */
  extend(
    weights: Weights,
    input: { readonly tokens: Tensor; readonly lengths: Tensor; readonly cache: KvCache },
    hooks?: LayerHooks,
  ): { readonly hidden: Tensor; readonly cache: KvCache };
  /** The matrix [vocabulary, width] of the output layer. @throws HeadError for a classifier, which has none */
  head(weights: Weights, hooks?: LayerHooks): Tensor;
  /** An empty cache in memory of its own. */
  newCache(batch: number, capacity: number): KvCache;
}

/** The network of a config. `quantized` says how the weights of linear layers are stored, by the layers' names. */
export function networkOf(config: ModelConfig, quantized: ReadonlyMap<string, QuantizedFormat> = new Map()): Network {
  const family = familyOf(config);
  const modules = new Map(
    withHeadModules(config, family.modules(config)).map((module): [string, ModuleInfo] => {
      const quantization = quantized.get(module.name);
      return [module.name, quantization ? { ...module, quantization } : module];
    }),
  );
  const { layers, kvHeads, headDim } = family.cacheShape(config);
  const scale = 1 / Math.sqrt(headDim);

  return {
    config,
    parameters: withHeadParameters(config, family.parameters(config)),
    modules,

    hidden(weights, { tokens, positions, segments }, hooks = {}, { gradientCheckpointing = false } = {}) {
      return family.hidden(config, bindLayers(weights, modules, hooks), {
        tokens,
        positions,
        block: (name, run, x) => nameScope(name, () => (gradientCheckpointing ? checkpoint(run)(x) : run(x))),
        attend(layer, q, k, v) {
          const window = family.slidingWindow(config, layer);
          return selfAttention(q, k, v, {
            scale,
            segments,
            ...(window === undefined ? {} : { slidingWindow: window }),
          });
        },
      });
    },

    extend(weights, { tokens, lengths, cache }, hooks = {}) {
      const [b, s] = tokens.shape as [number, number];
      const positions = lengths.reshape([b, 1]).add(iota([1, s], 1));
      const keys: Tensor[] = [];
      const values: Tensor[] = [];
      const hidden = family.hidden(config, bindLayers(weights, modules, hooks), {
        tokens,
        positions,
        block: (name, run, x) => nameScope(name, () => run(x)),
        attend(layer, q, k, v) {
          const window = family.slidingWindow(config, layer);
          const past = { pastKeys: cache.keys[layer]!, pastValues: cache.values[layer]! };
          const out = cachedAttention(
            { q, k, v, ...past, lengths },
            { scale, ...(window === undefined ? {} : { slidingWindow: window }) },
          );
          keys.push(out.keys);
          values.push(out.values);
          return out.output;
        },
      });
      return { hidden, cache: { keys, values } };
    },

    head(weights, hooks = {}) {
      const info = modules.get('lm_head');
      if (!info) throw new HeadError(`${config.head?.architecture} predicts no tokens: it has no output layer.`);
      const weight = weights[`${info.tiedTo ?? 'lm_head'}.weight`]!;
      return hooks.headWeight ? hooks.headWeight({ ...info, weight }) : weight;
    },

    newCache(batch, capacity) {
      const one = () => zerosBuffer([batch, kvHeads, capacity, headDim]);
      return { keys: Array.from({ length: layers }, one), values: Array.from({ length: layers }, one) };
    },
  };
}
