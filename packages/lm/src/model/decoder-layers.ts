import { nameScope, rmsNorm, swiglu, type Tensor } from '@posttrain/core-tensor';
import type { HiddenActivation, LayerType, ModelConfig } from '../config/index.js';
import { activations } from './activations.js';
import {
  type BoundLayers,
  type ForwardInput,
  type LayerAttention,
  layerIndices,
  linearModules,
  type ParameterInfo,
} from './family.js';
import type { ModuleInfo } from './layers.js';

// What decoders with rotary positions have in common. A family's file says the rest.

/** A linear layer of a block: its module path, its numbers of features, whether it has a bias. */
export interface Projection {
  readonly name: string;
  readonly in: number;
  readonly out: number;
  readonly bias?: boolean;
  /** Default `linear`. */
  readonly kind?: 'linear' | 'router';
}

interface AttentionSizes {
  readonly hiddenSize: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
}

/** `q_proj`, `k_proj`, `v_proj` and `o_proj`. */
export function attentionProjections(
  config: AttentionSizes,
  layer: number,
  { qkvBias, outputBias }: { readonly qkvBias: boolean; readonly outputBias: boolean },
): Projection[] {
  const { hiddenSize: width, headDim } = config;
  const [q, kv] = [config.numAttentionHeads * headDim, config.numKeyValueHeads * headDim];
  const name = `model.layers.${layer}.self_attn`;
  return [
    { name: `${name}.q_proj`, in: width, out: q, bias: qkvBias },
    { name: `${name}.k_proj`, in: width, out: kv, bias: qkvBias },
    { name: `${name}.v_proj`, in: width, out: kv, bias: qkvBias },
    { name: `${name}.o_proj`, in: q, out: width, bias: outputBias },
  ];
}

/** `gate_proj`, `up_proj` and `down_proj`. */
export function mlpProjections(
  { hiddenSize: width, intermediateSize: inner }: Pick<ModelConfig, 'hiddenSize' | 'intermediateSize'>,
  layer: number,
  bias = false,
): Projection[] {
  const name = `model.layers.${layer}.mlp`;
  return [
    { name: `${name}.gate_proj`, in: width, out: inner, bias },
    { name: `${name}.up_proj`, in: width, out: inner, bias },
    { name: `${name}.down_proj`, in: inner, out: width, bias },
  ];
}

/** What `attentionProjections` and `mlpProjections` say, with biases for all of attention or for none. */
export const blockProjections = (
  config: AttentionSizes & Pick<ModelConfig, 'intermediateSize'> & { readonly attentionBias: boolean },
  layer: number,
): Projection[] => [
  ...attentionProjections(config, layer, { qkvBias: config.attentionBias, outputBias: config.attentionBias }),
  ...mlpProjections(config, layer),
];

/** The weights of a layer's norms: the width of each by its name in the layer. */
export const normParameters = (
  layer: number,
  widths: Readonly<Record<string, number>>,
  init: ParameterInfo['init'] = 'ones',
): ParameterInfo[] =>
  Object.entries(widths).map(([name, width]) => ({
    name: `model.layers.${layer}.${name}.weight`,
    shape: [width],
    init,
  }));

/** Parameters of a decoder: embedding, what `block` says of each layer, final norm, and a head unless it is tied. */
export function decoderParameters(
  config: ModelConfig,
  block: (layer: number) => readonly ParameterInfo[],
  normInit: ParameterInfo['init'] = 'ones',
): ParameterInfo[] {
  const shape = [config.vocabSize, config.hiddenSize];
  const padding = config.padTokenId === undefined ? {} : { zeroRow: config.padTokenId };
  return [
    { name: 'model.embed_tokens.weight', shape, init: 'normal', ...padding },
    ...layerIndices(config).flatMap(block),
    { name: 'model.norm.weight', shape: [config.hiddenSize], init: normInit },
    ...(config.tieWordEmbeddings ? [] : [{ name: 'lm_head.weight', shape, init: 'normal' as const }]),
  ];
}

/** Weights [out, in] and biases of linear layers. */
export const linearParameters = (projections: readonly Projection[]): ParameterInfo[] =>
  projections.flatMap(({ name, in: inputs, out, bias }): ParameterInfo[] => [
    { name: `${name}.weight`, shape: [out, inputs], init: 'normal' },
    ...(bias ? [{ name: `${name}.bias`, shape: [out], init: 'zeros' as const }] : []),
  ]);

/** Modules of a decoder: embedding, the linear layers of each block, head. */
export function decoderModules(
  config: ModelConfig,
  projections: (layer: number) => readonly Projection[],
): ModuleInfo[] {
  const [inFeatures, outFeatures] = [config.hiddenSize, config.vocabSize];
  const outside = { inFeatures, outFeatures, layer: undefined, transposed: false };
  const embedding: ModuleInfo = { ...outside, name: 'model.embed_tokens', kind: 'embedding' };
  const tied = config.tieWordEmbeddings ? { tiedTo: embedding.name } : {};
  const blocks = layerIndices(config).flatMap((layer) =>
    linearModules(projections(layer), layer, { transposed: false }),
  );
  return [embedding, ...blocks, { ...outside, name: 'lm_head', kind: 'head', ...tied }];
}

export const keyValueCacheShape = (config: AttentionSizes & Pick<ModelConfig, 'numHiddenLayers'>) => ({
  layers: config.numHiddenLayers,
  kvHeads: config.numKeyValueHeads,
  headDim: config.headDim,
});

/** The window of a layer, in the words of `LayerAttention`. */
export const windowOf = (
  config: { readonly layerTypes: readonly LayerType[]; readonly slidingWindow: number | undefined },
  layer: number,
): Pick<LayerAttention, 'slidingWindow'> =>
  config.layerTypes[layer] === 'sliding_attention' && config.slidingWindow !== undefined
    ? { slidingWindow: config.slidingWindow }
    : {};

/** RMSNorm (arXiv 1910.07467) by a module's path. */
export const rmsNormOf =
  ({ norm }: BoundLayers, epsilon: number) =>
  (x: Tensor, name: string): Tensor =>
    norm(x, name, (states, { weight }) => rmsNorm(states, weight, { epsilon }));

/** activation(gate) · up, such as SwiGLU (arXiv 2002.05202). `name` is the module path of the MLP. */
export const gated = (gate: Tensor, up: Tensor, act: HiddenActivation, name: string): Tensor =>
  nameScope(name, () => (act === 'silu' ? swiglu(gate, up) : activations[act](gate).mul(up)));

/** The gated MLP `name` of `gate_proj`, `up_proj` and `down_proj`. */
export function gatedMlp({ linear }: BoundLayers, x: Tensor, name: string, act: HiddenActivation): Tensor {
  return linear(gated(linear(x, `${name}.gate_proj`), linear(x, `${name}.up_proj`), act, name), `${name}.down_proj`);
}

/** x through all blocks, one after the other. */
export function runBlocks(
  config: ModelConfig,
  { block: run }: Pick<ForwardInput, 'block'>,
  x: Tensor,
  block: (layer: number, name: string) => (x: Tensor) => Tensor,
): Tensor {
  return layerIndices(config).reduce((before, layer) => {
    const name = `model.layers.${layer}`;
    return run(name, block(layer, name), before);
  }, x);
}
