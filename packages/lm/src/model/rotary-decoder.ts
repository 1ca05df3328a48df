import { nameScope, rmsNorm, rotary, swiglu, type Tensor, tensor } from '@posttrain/core-tensor';
import type { LayerType, RopeConfig, RotaryModelConfig } from '../config/index.js';
import { activations } from './activations.js';
import {
  joinHeads,
  type LayerAttention,
  layerIndices,
  linearModules,
  type ModelFamily,
  type ParameterInfo,
  splitHeads,
} from './family.js';
import type { ModuleInfo } from './layers.js';

/**
 * The rotation frequency of each pair, in radians per position: theta^(-2i/d), changed by the kind of scaling.
 * See `RopeConfig` for the kinds.
 */
export function ropeFrequencies(rope: RopeConfig, headDim: number): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => {
    const frequency = 1 / rope.theta ** ((2 * i) / headDim);
    if (rope.type === 'default') return frequency;
    if (rope.type === 'linear') return frequency / rope.factor;
    const wavelength = (2 * Math.PI) / frequency;
    const turns = rope.originalMaxPositionEmbeddings / wavelength;
    if (turns > rope.highFreqFactor) return frequency;
    if (turns < rope.lowFreqFactor) return frequency / rope.factor;
    const smooth = (turns - rope.lowFreqFactor) / (rope.highFreqFactor - rope.lowFreqFactor);
    return (1 - smooth) * (frequency / rope.factor) + smooth * frequency;
  });
}

function projections(config: RotaryModelConfig, layer: number) {
  const { hiddenSize: width, intermediateSize: inner, headDim } = config;
  const [q, kv] = [config.numAttentionHeads * headDim, config.numKeyValueHeads * headDim];
  const block = `model.layers.${layer}`;
  return [
    { name: `${block}.self_attn.q_proj`, in: width, out: q, bias: config.qkvBias },
    { name: `${block}.self_attn.k_proj`, in: width, out: kv, bias: config.qkvBias },
    { name: `${block}.self_attn.v_proj`, in: width, out: kv, bias: config.qkvBias },
    { name: `${block}.self_attn.o_proj`, in: q, out: width, bias: config.outputBias },
    { name: `${block}.mlp.gate_proj`, in: width, out: inner, bias: config.mlpBias },
    { name: `${block}.mlp.up_proj`, in: width, out: inner, bias: config.mlpBias },
    { name: `${block}.mlp.down_proj`, in: inner, out: width, bias: config.mlpBias },
  ];
}

/** The window of a layer, in the words of `LayerAttention`. */
export const windowOf = (
  config: { readonly layerTypes: readonly LayerType[]; readonly slidingWindow: number | undefined },
  layer: number,
): Pick<LayerAttention, 'slidingWindow'> =>
  config.layerTypes[layer] === 'sliding_attention' && config.slidingWindow !== undefined
    ? { slidingWindow: config.slidingWindow }
    : {};

/**
 * Llama 2 and 3, SmolLM2 (arXiv 2302.13971), Mistral (arXiv 2310.06825), Qwen2 and 2.5 (arXiv 2407.10671) and Qwen3
 * (arXiv 2505.09388): pre-norm blocks of grouped-query attention with rotary positions and a gated MLP. They differ
 * in biases, sliding windows and normalised queries and keys, all of which the config says.
 */
export const rotaryDecoder: ModelFamily<RotaryModelConfig> = {
  parameters(config) {
    const vector = (name: string): ParameterInfo => ({ name, shape: [config.hiddenSize], init: 'ones' });
    const matrix = (name: string): ParameterInfo => ({
      name,
      shape: [config.vocabSize, config.hiddenSize],
      init: 'normal',
    });
    const blocks = layerIndices(config).flatMap((layer) => {
      const block = `model.layers.${layer}`;
      const linears = projections(config, layer).flatMap(({ name, in: inputs, out, bias }): ParameterInfo[] => [
        { name: `${name}.weight`, shape: [out, inputs], init: 'normal' },
        ...(bias ? [{ name: `${name}.bias`, shape: [out], init: 'zeros' as const }] : []),
      ]);
      const headNorms = ['q_norm', 'k_norm'].map(
        (name): ParameterInfo => ({ name: `${block}.self_attn.${name}.weight`, shape: [config.headDim], init: 'ones' }),
      );
      const norms = [vector(`${block}.input_layernorm.weight`), vector(`${block}.post_attention_layernorm.weight`)];
      return [...linears, ...norms, ...(config.qkNorm ? headNorms : [])];
    });
    const head = config.tieWordEmbeddings ? [] : [matrix('lm_head.weight')];
    return [matrix('model.embed_tokens.weight'), ...blocks, vector('model.norm.weight'), ...head];
  },

  modules(config) {
    const [inFeatures, outFeatures] = [config.hiddenSize, config.vocabSize];
    const outside = { inFeatures, outFeatures, layer: undefined, transposed: false };
    const embedding: ModuleInfo = { ...outside, name: 'model.embed_tokens', kind: 'embedding' };
    const tied = config.tieWordEmbeddings ? { tiedTo: embedding.name } : {};
    const blocks = layerIndices(config).flatMap((layer) =>
      linearModules(projections(config, layer), layer, { transposed: false }),
    );
    return [embedding, ...blocks, { ...outside, name: 'lm_head', kind: 'head', ...tied }];
  },

  cacheShape: (config) => ({
    layers: config.numHiddenLayers,
    kvHeads: config.numKeyValueHeads,
    headDim: config.headDim,
  }),

  attention: (config, layer) => ({ scale: 1 / Math.sqrt(config.headDim), ...windowOf(config, layer) }),

  hidden(config, { weight, linear, embedding }, { tokens, positions, attend, block: run }) {
    const norm = (x: Tensor, name: string) =>
      nameScope(name, () => rmsNorm(x, weight(`${name}.weight`), { epsilon: config.rmsNormEps }));
    const frequencies = tensor(ropeFrequencies(config.rope, config.headDim));
    const angles = positions.cast('float32').expandDims(2).mul(frequencies);
    // Positions need float32; what they turn has the type of the model.
    const { dtype } = weight('model.embed_tokens.weight');
    const [cos, sin] = [angles.cos().cast(dtype), angles.sin().cast(dtype)];
    const activation = activations[config.hiddenAct];

    const block = (layer: number, name: string) => (x: Tensor) => {
      const attention = `${name}.self_attn`;
      const h = norm(x, `${name}.input_layernorm`);
      const heads = (part: string, count: number) => splitHeads(linear(h, `${attention}.${part}`), count);
      const normed = (q: Tensor, part: string) => (config.qkNorm ? norm(q, `${attention}.${part}`) : q);
      const mixed = nameScope(attention, () => {
        const q = rotary(normed(heads('q_proj', config.numAttentionHeads), 'q_norm'), cos, sin);
        const k = rotary(normed(heads('k_proj', config.numKeyValueHeads), 'k_norm'), cos, sin);
        return attend(layer, q, k, heads('v_proj', config.numKeyValueHeads));
      });
      const y = x.add(linear(joinHeads(mixed), `${attention}.o_proj`));
      const m = norm(y, `${name}.post_attention_layernorm`);
      const [gate, up] = [linear(m, `${name}.mlp.gate_proj`), linear(m, `${name}.mlp.up_proj`)];
      const gated = nameScope(`${name}.mlp`, () =>
        config.hiddenAct === 'silu' ? swiglu(gate, up) : activation(gate).mul(up),
      );
      return y.add(linear(gated, `${name}.mlp.down_proj`));
    };

    let x = embedding(tokens, 'model.embed_tokens');
    for (const layer of layerIndices(config)) {
      const name = `model.layers.${layer}`;
      x = run(name, block(layer, name), x);
    }
    return norm(x, 'model.norm');
  },
};
