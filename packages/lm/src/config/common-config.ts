import type { JsonObject } from '../files.js';
import type { Fields } from './fields.js';
import type { HeadConfig } from './head-config.js';
import type { QuantizationConfig } from './quantization-config.js';

export const ACTIVATIONS = [
  ...(['silu', 'swish', 'gelu', 'gelu_new', 'gelu_pytorch_tanh', 'gelu_fast', 'quick_gelu'] as const),
  ...(['relu', 'relu2', 'tanh'] as const),
] as const;
/**
 * `silu` and `swish` are one; `gelu` is the exact one (erf); `gelu_new`, `gelu_pytorch_tanh` and `gelu_fast` are all the tanh
 * approximation, `quick_gelu` is x · sigmoid(1.702 x); `relu2` is relu(x)².
 */
export type HiddenActivation = (typeof ACTIVATIONS)[number];

const WEIGHT_DTYPES = ['float32', 'float16', 'bfloat16'] as const;
/** A dtype that a folder's weights can have. */
export type WeightDType = (typeof WEIGHT_DTYPES)[number];

/** What a layer attends to: everything before, or a sliding window of it. */
export type LayerType = 'full_attention' | 'sliding_attention';

/** What every architecture's config says. */
export interface CommonConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly maxPositionEmbeddings: number;
  readonly hiddenAct: HiddenActivation;
  /** Whether the output layer is the transposed token embedding. Reading weights that have another one sets it to false. */
  readonly tieWordEmbeddings: boolean;
  /** Standard deviation new weights are drawn with. */
  readonly initializerRange: number;
  readonly bosTokenId: number | undefined;
  /** Any of these ends a generation. */
  readonly eosTokenIds: readonly number[];
  readonly padTokenId: number | undefined;
  /** The dtype the weights were saved in, when the file says. */
  readonly dtype: WeightDType | undefined;
  /** Of a model with quantised weights. */
  readonly quantization?: QuantizationConfig;
  /** Of a classifier, reward or value model. */
  readonly head?: HeadConfig;
  /** Of the text part of a model that sees images, until its weights are read: what the tensors of the other parts begin with. */
  readonly leftOut?: readonly string[];
}

type Dimensions = Pick<CommonConfig, 'hiddenSize' | 'numHiddenLayers' | 'numAttentionHeads' | 'maxPositionEmbeddings'>;

export function parseCommon(
  fields: Fields,
  dimensions: Dimensions,
): Omit<CommonConfig, 'intermediateSize' | 'hiddenAct' | 'tieWordEmbeddings'> {
  const dtypeKey = fields.raw('dtype') === undefined ? 'torch_dtype' : 'dtype';
  return {
    ...dimensions,
    vocabSize: fields.size('vocab_size'),
    initializerRange: fields.number('initializer_range', 0.02),
    bosTokenId: fields.tokenId('bos_token_id'),
    eosTokenIds: fields.tokenIds('eos_token_id') ?? [],
    padTokenId: fields.tokenId('pad_token_id'),
    dtype: fields.raw(dtypeKey) === undefined ? undefined : fields.oneOf(dtypeKey, WEIGHT_DTYPES),
  };
}

/** Many times what any model has: for each layer something is made before its tensors are looked for. */
const MOST_LAYERS = 10_000;

/** The number of layers. */
export const parseLayers = (fields: Fields, otherwise?: number, name = 'num_hidden_layers'): number =>
  fields.size(name, otherwise, MOST_LAYERS);

/** `layer_types`: one of full_attention and sliding_attention for each layer; undefined when the file does not say. */
export function parseLayerTypes(fields: Fields, layers: number): LayerType[] | undefined {
  const listed = fields.raw('layer_types');
  if (listed === undefined) return undefined;
  const valid = (type: unknown) => type === 'full_attention' || type === 'sliding_attention';
  if (!Array.isArray(listed) || listed.length !== layers || !listed.every(valid)) {
    fields.fail('layer_types', `a list of ${layers} of full_attention and sliding_attention`);
  }
  return listed as LayerType[];
}

/** The heads of an attention whose width is `headDim`, or hiddenSize / heads where the file does not say. */
export interface HeadSizes {
  readonly hiddenSize: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  /** Width of one head; not always hiddenSize / numAttentionHeads. */
  readonly headDim: number;
}

/** Reads the sizes of heads. Each default is for a key that the file does not have; `says`: which of the two keys count. */
export function parseHeads(
  fields: Fields,
  defaults: { readonly numKeyValueHeads?: number; readonly headDim?: number } = {},
  says: { readonly headDim?: boolean; readonly keyValueHeads?: boolean } = {},
): HeadSizes {
  const { headDim: saysHeadDim = true, keyValueHeads: saysKeyValueHeads = true } = says;
  const hiddenSize = fields.size('hidden_size');
  const numAttentionHeads = fields.size('num_attention_heads');
  const otherwise = defaults.numKeyValueHeads ?? numAttentionHeads;
  const numKeyValueHeads = saysKeyValueHeads ? fields.size('num_key_value_heads', otherwise) : otherwise;
  if (numAttentionHeads % numKeyValueHeads !== 0) {
    fields.fail('num_key_value_heads', `a divisor of num_attention_heads (${numAttentionHeads})`);
  }
  const own = saysHeadDim ? fields.optionalSize('head_dim') : undefined;
  const headDim = own ?? defaults.headDim ?? hiddenSize / numAttentionHeads;
  if (!Number.isInteger(headDim)) fields.fail('hidden_size', `a multiple of num_attention_heads without a head_dim`);
  if (headDim % 2 !== 0) fields.fail('head_dim', 'even, since rotary embeddings rotate pairs');
  return { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim };
}

/** The keys that all decoders with rotary positions have. */
export const decoderToJson = (config: CommonConfig & HeadSizes & { readonly rmsNormEps: number }): JsonObject => ({
  hidden_size: config.hiddenSize,
  intermediate_size: config.intermediateSize,
  num_hidden_layers: config.numHiddenLayers,
  num_attention_heads: config.numAttentionHeads,
  num_key_value_heads: config.numKeyValueHeads,
  head_dim: config.headDim,
  max_position_embeddings: config.maxPositionEmbeddings,
  hidden_act: config.hiddenAct,
  rms_norm_eps: config.rmsNormEps,
});
