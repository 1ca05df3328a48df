import { InvalidModelFileError, type JsonObject } from '../files.js';
import {
  ACTIVATIONS,
  type CommonConfig,
  decoderToJson,
  type HeadSizes,
  type LayerType,
  parseCommon,
  parseHeads,
  parseLayers,
  parseLayerTypes,
} from './common-config.js';
import { Fields } from './fields.js';
import { parseRopeConfig, type RopeConfig, readRope, ropeConfigToJson, ropeToJson } from './rope-config.js';

/** Gemma 2 (arXiv 2408.00118) and the text part of Gemma 3 (arXiv 2503.19786). */
export interface GemmaConfig extends CommonConfig, HeadSizes {
  readonly modelType: 'gemma2' | 'gemma3_text';
  readonly rmsNormEps: number;
  /** Of layers with full attention. */
  readonly rope: RopeConfig;
  /** Of layers with sliding attention; the same in Gemma 2. */
  readonly slidingRope: RopeConfig;
  /** Biases of all four attention projections. */
  readonly attentionBias: boolean;
  /** Attention scores are divided by its square root. */
  readonly queryPreAttnScalar: number;
  /** Soft cap of the attention scores. */
  readonly attnLogitSoftcapping: number | undefined;
  /** Soft cap of the logits. */
  readonly finalLogitSoftcapping: number | undefined;
  /** One per layer. A sliding layer's query at position i sees keys j with i - slidingWindow < j <= i. */
  readonly layerTypes: readonly LayerType[];
  readonly slidingWindow: number | undefined;
}

/** What transformers takes for absent keys; real folders leave many out. */
const GEMMA2_DEFAULTS: JsonObject = {
  vocab_size: 256000,
  hidden_size: 2304,
  intermediate_size: 9216,
  num_hidden_layers: 26,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  hidden_activation: 'gelu_pytorch_tanh',
  max_position_embeddings: 8192,
  bos_token_id: 2,
  eos_token_id: 1,
  pad_token_id: 0,
  query_pre_attn_scalar: 256,
  sliding_window: 4096,
  attn_logit_softcapping: 50,
  final_logit_softcapping: 30,
};
const GEMMA3_DEFAULTS: JsonObject = {
  ...GEMMA2_DEFAULTS,
  vocab_size: 262208,
  max_position_embeddings: 131072,
  attn_logit_softcapping: null,
  final_logit_softcapping: null,
};

export function parseGemma(given: Fields, modelType: GemmaConfig['modelType']): GemmaConfig {
  const isGemma3 = modelType === 'gemma3_text';
  const fields = given.withDefaults(isGemma3 ? GEMMA3_DEFAULTS : GEMMA2_DEFAULTS);
  const softCap = (name: string) => (fields.raw(name) === undefined ? undefined : fields.positive(name));
  const attnLogitSoftcapping = softCap('attn_logit_softcapping');
  if (isGemma3 && attnLogitSoftcapping !== undefined) {
    fields.fail('attn_logit_softcapping', 'null (Gemma 3 has no cap there)');
  }
  const numHiddenLayers = parseLayers(fields);
  const maxPositionEmbeddings = fields.size('max_position_embeddings');
  const pattern = isGemma3 ? fields.size('sliding_window_pattern', 6) : 2;
  const layerTypes =
    parseLayerTypes(fields, numHiddenLayers) ??
    Array.from(
      { length: numHiddenLayers },
      (_, i): LayerType => ((i + 1) % pattern === 0 ? 'full_attention' : 'sliding_attention'),
    );
  const slidingWindow = layerTypes.includes('sliding_attention')
    ? fields.size('sliding_window')
    : fields.optionalSize('sliding_window');
  const heads = parseHeads(fields);
  return {
    modelType,
    ...parseCommon(fields, { ...heads, numHiddenLayers, maxPositionEmbeddings }),
    ...heads,
    intermediateSize: fields.size('intermediate_size'),
    hiddenAct: fields.oneOf('hidden_activation', ACTIVATIONS),
    tieWordEmbeddings: fields.boolean('tie_word_embeddings', true),
    rmsNormEps: fields.positive('rms_norm_eps', 1e-6),
    ...(isGemma3 ? parseGemma3Ropes(fields, maxPositionEmbeddings) : parseGemma2Rope(fields, maxPositionEmbeddings)),
    attentionBias: fields.boolean('attention_bias', false),
    queryPreAttnScalar: fields.positive('query_pre_attn_scalar'),
    attnLogitSoftcapping,
    finalLogitSoftcapping: softCap('final_logit_softcapping'),
    layerTypes,
    slidingWindow,
  };
}

/** The text part of a `gemma3` config, which has images too. Tokens and dtype are the whole model's, where it says them. */
export function gemma3TextFields(whole: Fields): Fields {
  const text = whole.object('text_config');
  if (!text) whole.fail('text_config', 'an object');
  const fields = new Fields(`${whole.path} (text_config)`, text);
  // Gemma3ForConditionalGeneration leaves the cap out that Gemma3ForCausalLM has.
  if (fields.raw('final_logit_softcapping') !== undefined) {
    fields.fail('final_logit_softcapping', 'null in a model with images');
  }
  const shared = ['dtype', 'torch_dtype', 'tie_word_embeddings', 'bos_token_id', 'eos_token_id', 'pad_token_id'];
  const said = shared.filter((name) => whole.raw(name) !== undefined);
  return new Fields(fields.path, { ...text, ...Object.fromEntries(said.map((name) => [name, whole.raw(name)])) });
}

type Ropes = Pick<GemmaConfig, 'rope' | 'slidingRope'>;

function parseGemma2Rope(fields: Fields, maxPositionEmbeddings: number): Ropes {
  const rope = parseRopeConfig(fields, maxPositionEmbeddings);
  return { rope, slidingRope: rope };
}

/** transformers 5 has `rope_parameters` by layer type; before, `rope_scaling` was of full attention only. */
function parseGemma3Ropes(fields: Fields, maxPositionEmbeddings: number): Ropes {
  const path = `${fields.path} (rope parameters)`;
  const byType = new Fields(path, fields.object('rope_parameters') ?? {});
  for (const name of ['rope_theta', 'rope_type']) if (byType.has(name)) byType.fail(name, 'inside a layer type');
  const scaling = fields.object('rope_scaling');
  if (scaling && 'type' in scaling && !('rope_type' in scaling)) {
    throw new InvalidModelFileError(path, 'transformers passes over rope_scaling with "type": call it "rope_type".');
  }
  const partial_rotary_factor = fields.number('partial_rotary_factor', 1);
  const of = (layerType: LayerType, theta: number, scaling?: JsonObject) =>
    readRope(
      new Fields(path, { ...byType.object(layerType), ...scaling }).withDefaults({
        rope_theta: theta,
        partial_rotary_factor,
      }),
      maxPositionEmbeddings,
    );
  return {
    rope: of('full_attention', fields.positive('rope_theta', 1e6), scaling),
    slidingRope: of('sliding_attention', fields.positive('rope_local_base_freq', 1e4)),
  };
}

export function gemmaToJson(config: GemmaConfig): JsonObject {
  const { rope, slidingRope } = config;
  const ropes = {
    ...ropeConfigToJson(rope),
    rope_local_base_freq: slidingRope.theta,
    rope_parameters: { full_attention: ropeToJson(rope), sliding_attention: ropeToJson(slidingRope) },
  };
  return {
    ...decoderToJson(config),
    hidden_activation: config.hiddenAct,
    ...(config.modelType === 'gemma3_text' ? ropes : ropeConfigToJson(rope)),
    attention_bias: config.attentionBias,
    query_pre_attn_scalar: config.queryPreAttnScalar,
    attn_logit_softcapping: config.attnLogitSoftcapping ?? null,
    final_logit_softcapping: config.finalLogitSoftcapping ?? null,
    layer_types: config.layerTypes,
    sliding_window: config.slidingWindow ?? null,
  };
}
