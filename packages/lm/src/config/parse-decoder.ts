import type { JsonObject } from '../files.js';
import { ACTIVATIONS, parseCommon, parseHeads, parseLayers } from './common-config.js';
import type { DecoderConfig, DecoderNames, DecoderType, LatentAttention, RotaryConfig } from './decoder-config.js';
import { DecoderFields, FACTORS, NAMES } from './decoder-family.js';
import { DECODERS } from './decoders/index.js';
import { type RopeConfig, ropeConfigToJson, ropeToJson } from './rope-config.js';

/** Reads the config.json of a family in `decoders`. @throws InvalidModelFileError */
export function parseDecoder(path: string, json: JsonObject, modelType: DecoderType): DecoderConfig {
  const family = DECODERS[modelType];
  const { defaults, keys = {}, aliases = {}, says = {} } = family;
  const renamed = Object.entries(json).map(([name, value]) => [aliases[name] ?? name, value] as const);
  const fields = new DecoderFields(path, { ...defaults, ...Object.fromEntries(renamed) }, keys);
  const heads = parseHeads(fields, {}, { headDim: true, keyValueHeads: true, ...says });
  const layers = parseLayers(fields);
  const maxPositionEmbeddings = fields.size('max_position_embeddings');
  const sizes = { ...heads, layers, maxPositionEmbeddings };
  const { names = {}, hiddenAct, intermediateSize, written, ...shape } = family.read(fields, sizes);
  if (!shape.latent) {
    const said = fields.optionalSize('head_dim') ?? heads.headDim;
    // Some of transformers' code takes it all the same.
    if (said !== heads.headDim) fields.fail('head_dim', `${heads.headDim}, or left out`);
  }
  const headDim = shape.latent ? latentHeadDim(shape.latent) : heads.headDim;
  const common = parseCommon(fields, { ...heads, numHiddenLayers: layers, maxPositionEmbeddings });
  return {
    modelType,
    ...common,
    ...heads,
    headDim,
    intermediateSize: intermediateSize ?? fields.size('intermediate_size', 4 * heads.hiddenSize),
    hiddenAct: hiddenAct ?? fields.oneOf('hidden_act', ACTIVATIONS),
    tieWordEmbeddings: fields.boolean('tie_word_embeddings', false),
    alibi: false,
    positionOffset: 0,
    layerTypes: Array.from({ length: layers }, () => 'full_attention' as const),
    slidingWindow: undefined,
    biases: { qkv: false, output: false, mlp: false, head: false },
    joined: 'groups',
    residual: 'sequential',
    hasMlp: true,
    gatesAttention: false,
    factors: { ...FACTORS, scores: 1 / Math.sqrt(headDim) },
    ...shape,
    names: present({ ...NAMES, ...names }),
    keys: { ...fields.seen, ...written },
  };
}

/** Of the cache, which has keys and values of one width: the narrower ones end in zeros. */
const latentHeadDim = ({ still, turned, value }: LatentAttention): number => Math.max(still + turned, value);

const present = (names: object): DecoderNames =>
  Object.fromEntries(Object.entries(names).filter(([, name]) => name !== undefined)) as unknown as DecoderNames;

/** The inverse: what was read, with the sizes as they are now. */
export function decoderConfigToJson(config: DecoderConfig): JsonObject {
  const { keys = {} } = DECODERS[config.modelType];
  const sizes: JsonObject = {
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.numHiddenLayers,
    num_attention_heads: config.numAttentionHeads,
    num_key_value_heads: config.numKeyValueHeads,
    head_dim: config.headDim,
    max_position_embeddings: config.maxPositionEmbeddings,
    hidden_act: config.hiddenAct,
    initializer_range: config.initializerRange,
  };
  const own = Object.entries(sizes).map(([name, value]) => [keys[name] ?? name, value] as const);
  return {
    ...config.keys,
    ...Object.fromEntries(own.filter(([name]) => (config.keys[name] ?? null) !== null)),
    ...(config.rotary && rotaryToJson(config, config.rotary, keys)),
  };
}

function rotaryToJson(
  { headDim, latent }: DecoderConfig,
  { rope, slidingRope, width, isPartial, growth, byType }: RotaryConfig,
  keys: Readonly<Record<string, string>>,
): JsonObject {
  const share = isPartial ? { partial_rotary_factor: width / headDim } : {};
  const grows = growth && { llama_4_scaling_beta: growth.beta, original_max_position_embeddings: growth.length };
  const all = latent?.mscaleAllDim === undefined ? {} : { mscale_all_dim: latent.mscaleAllDim };
  const { rope_theta, rope_scaling } = ropeConfigToJson(rope);
  const of = (one: RopeConfig): JsonObject => ({ ...ropeToJson(one), ...share, ...grows, ...all });
  return {
    [keys.rope_theta ?? 'rope_theta']: rope_theta,
    ...(isPartial && { [keys.partial_rotary_factor ?? 'partial_rotary_factor']: width / headDim }),
    ...(rope_scaling !== undefined && {
      rope_scaling: { ...(rope_scaling as JsonObject), ...share, ...grows, ...all },
    }),
    rope_parameters: !byType ? of(rope) : { full_attention: of(rope), sliding_attention: of(slidingRope) },
  };
}
