import { join } from 'node:path';
import { assertPath, PosttrainError } from '@posttrain/interfaces';
import { completeSave } from '@posttrain/interfaces/node';
import { type JsonObject, readJsonObject } from '../files.js';
import {
  ACTIVATIONS,
  type CommonConfig,
  type HeadSizes,
  type LayerType,
  parseCommon,
  parseHeads,
  parseLayers,
  parseLayerTypes,
} from './common-config.js';
import { DECODER_TYPES, type DecoderConfig, type DecoderType } from './decoder-config.js';
import { type ExpertsConfig, parseExpertsConfig } from './experts-config.js';
import { Fields } from './fields.js';
import { type GemmaConfig, gemma3TextFields, parseGemma } from './gemma-config.js';
import { parseHeadConfig } from './head-config.js';
import { type Olmo2Config, parseOlmo2 } from './olmo2-config.js';
import { parseDecoder } from './parse-decoder.js';
import { type Phi3Config, parsePhi3 } from './phi3-config.js';
import { parseQuantizationConfig } from './quantization-config.js';
import { refuseOtherLayerTypes, refuseUnsupportedKeys } from './refused-keys.js';
import { parseRopeConfig, type RopeConfig } from './rope-config.js';
import { MODELS_WITH_TEXT_PARTS, textPartOf } from './text-part.js';

/** The architectures this package runs, as `model_type` names them. SmolLM2 is `llama`, Qwen2.5 `qwen2`, Phi-4 `phi3`. */
export const SUPPORTED_MODEL_TYPES = [
  ...(['llama', 'mistral', 'mixtral', 'qwen2', 'qwen3', 'qwen3_moe', 'gpt2'] as const),
  ...(['gemma2', 'gemma3', 'gemma3_text', 'phi3', 'olmo2'] as const),
  ...DECODER_TYPES,
] as const;
/** A `model_type` of config.json that can be loaded. */
export type ModelType = (typeof SUPPORTED_MODEL_TYPES)[number];

/** Pre-norm decoders with RMSNorm, rotary positions, grouped-query attention and a gated MLP. */
export interface RotaryModelConfig extends CommonConfig, HeadSizes {
  readonly modelType: 'llama' | 'mistral' | 'mixtral' | 'qwen2' | 'qwen3' | 'qwen3_moe';
  readonly rmsNormEps: number;
  readonly rope: RopeConfig;
  /** Biases of the query, key and value projections. */
  readonly qkvBias: boolean;
  /** Bias of the attention output projection. */
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** RMSNorm over each query and key head before the rotation (Qwen3). */
  readonly qkNorm: boolean;
  /** One per layer. A sliding layer's query at position i sees keys j with i - slidingWindow < j <= i. */
  readonly layerTypes: readonly LayerType[];
  readonly slidingWindow: number | undefined;
  /** Of a mixture of experts. */
  readonly experts?: ExpertsConfig;
}

/** GPT-2: learned positions, LayerNorm with bias, one fused qkv projection; its linear weights are stored [in, out]. */
export interface Gpt2Config extends CommonConfig {
  readonly modelType: 'gpt2';
  readonly layerNormEps: number;
}

/** Discriminated by `modelType`. Units are numbers of elements; see each field. */
export type ModelConfig = RotaryModelConfig | Gpt2Config | GemmaConfig | Phi3Config | Olmo2Config | DecoderConfig;

/** `config.json` is of an architecture this package has no model for. */
export class UnsupportedArchitectureError extends PosttrainError {
  constructor(path: string, found: string) {
    super(
      'UNSUPPORTED_ARCHITECTURE',
      `${path}: the architecture ${found} is not supported. Supported values of "model_type": ` +
        `${SUPPORTED_MODEL_TYPES.join(', ')}, and the text parts of ${MODELS_WITH_TEXT_PARTS.join(', ')}.`,
    );
  }
}

/** Reads `config.json` of a model folder. @throws UnsupportedArchitectureError, InvalidModelFileError */
export async function loadModelConfig(folder: string): Promise<ModelConfig> {
  assertPath('loadModelConfig', 'folder', folder);
  await completeSave(folder);
  const path = join(folder, 'config.json');
  return parseModelConfig(await readJsonObject(path), path);
}

/**
 * Parses a `config.json` with the defaults `transformers` has for keys that are absent. What would change the maths and
 * is not supported is an error, never ignored.
 *
 * @param path named in errors
 * @throws UnsupportedArchitectureError, InvalidModelFileError
 */
export function parseModelConfig(json: JsonObject, path = 'config.json'): ModelConfig {
  const part = textPartOf(json, path);
  if (part) {
    const { quantization_config } = json;
    const whole = quantization_config === undefined ? part.json : { ...part.json, quantization_config };
    return { ...parseModelConfig(whole, `${path} (text part)`), leftOut: part.leftOut };
  }
  const modelType = readModelType(json, path);
  const fields = new Fields(path, json);
  // Of a model with images, transformers finds it in either place.
  const quantized = fields.raw('quantization_config') ?? fields.object('text_config')?.quantization_config ?? undefined;
  const head = parseHeadConfig(json, path);
  const family = parseFamily(fields, modelType, json);
  return {
    ...family,
    ...(quantized !== undefined && { quantization: parseQuantizationConfig(path, quantized) }),
    ...(head && { head }),
  };
}

const isDecoder = (modelType: ModelType): modelType is DecoderType =>
  (DECODER_TYPES as readonly string[]).includes(modelType);

function parseFamily(fields: Fields, modelType: ModelType, json: JsonObject): ModelConfig {
  refuseUnsupportedKeys(fields);
  if (isDecoder(modelType)) return parseDecoder(fields.path, json, modelType);
  switch (modelType) {
    case 'gpt2':
      return parseGpt2(fields);
    case 'gemma3':
      return parseGemma(gemma3TextFields(fields), 'gemma3_text');
    case 'gemma2':
    case 'gemma3_text':
      return parseGemma(fields, modelType);
    case 'phi3':
      return parsePhi3(fields);
    case 'olmo2':
      return parseOlmo2(fields);
    default:
      return parseRotary(fields, modelType);
  }
}

function readModelType(json: JsonObject, path: string): ModelType {
  const known = (name: unknown): name is ModelType => SUPPORTED_MODEL_TYPES.includes(name as ModelType);
  const { model_type: modelType, architectures } = json;
  if (known(modelType)) return modelType;
  const architecture: unknown = Array.isArray(architectures) ? architectures[0] : undefined;
  if (modelType === undefined && typeof architecture === 'string') {
    const guess = /^(\w+)(?:ForCausalLM|LMHeadModel)$/.exec(architecture)?.[1]?.toLowerCase();
    if (known(guess)) return guess;
  }
  throw new UnsupportedArchitectureError(path, JSON.stringify(modelType ?? architecture ?? null));
}

function parseRotary(fields: Fields, modelType: RotaryModelConfig['modelType']): RotaryModelConfig {
  const heads = parseHeads(fields, {
    ...(['mistral', 'mixtral'].includes(modelType) && { numKeyValueHeads: 8 }),
    ...(modelType === 'qwen3' && { headDim: 128 }),
  });
  const numHiddenLayers = parseLayers(fields);
  const maxPositionEmbeddings = fields.size('max_position_embeddings');
  const attentionBias = ['llama', 'qwen3', 'qwen3_moe'].includes(modelType) && fields.boolean('attention_bias', false);
  const isMixture = modelType === 'mixtral' || modelType === 'qwen3_moe';
  const experts = isMixture ? parseExpertsConfig(fields, modelType, numHiddenLayers) : undefined;
  return {
    modelType,
    ...parseCommon(fields, { ...heads, numHiddenLayers, maxPositionEmbeddings }),
    ...heads,
    intermediateSize: fields.size('intermediate_size'),
    hiddenAct: fields.oneOf('hidden_act', ACTIVATIONS, 'silu'),
    tieWordEmbeddings: fields.boolean('tie_word_embeddings', false),
    ...(['llama', 'mistral', 'mixtral'].includes(modelType) ? llamaTokenDefaults(fields) : {}),
    rmsNormEps: fields.positive('rms_norm_eps', modelType === 'mixtral' ? 1e-5 : 1e-6),
    rope: parseRopeConfig(fields, maxPositionEmbeddings, modelType === 'mixtral' ? 1e6 : 10000),
    qkvBias: modelType === 'qwen2' || attentionBias,
    outputBias: attentionBias,
    mlpBias: modelType === 'llama' && fields.boolean('mlp_bias', false),
    qkNorm: ['qwen3', 'qwen3_moe'].includes(modelType),
    ...parseWindow(fields, modelType, numHiddenLayers),
    ...(experts && { experts }),
  };
}

function parseWindow(
  fields: Fields,
  modelType: RotaryModelConfig['modelType'],
  layers: number,
): Pick<RotaryModelConfig, 'layerTypes' | 'slidingWindow'> {
  const all = (type: LayerType) => Array.from({ length: layers }, () => type);
  const inEveryLayer = (slidingWindow: number | undefined) => {
    const type = slidingWindow === undefined ? 'full_attention' : 'sliding_attention';
    refuseOtherLayerTypes(fields, type);
    return { layerTypes: all(type), slidingWindow };
  };
  if (modelType === 'llama') return inEveryLayer(undefined);
  if (modelType === 'mistral') {
    // An explicit null means full attention; only an absent key has the default.
    const slidingWindow = fields.optionalSize('sliding_window') ?? (fields.has('sliding_window') ? undefined : 4096);
    // transformers takes a Mistral with layer_types for a Ministral.
    const layerTypes = parseLayerTypes(fields, layers) ?? inEveryLayer(slidingWindow).layerTypes;
    // Written without layer_types, the window of a file is that of every layer: what no layer has is none.
    if (!layerTypes.includes('sliding_attention')) return { layerTypes, slidingWindow: undefined };
    if (slidingWindow === undefined) fields.fail('sliding_window', 'a size, since layer_types has sliding_attention');
    return { layerTypes, slidingWindow };
  }
  if (modelType === 'mixtral') return inEveryLayer(fields.optionalSize('sliding_window'));
  const used = fields.boolean('use_sliding_window', false);
  if (modelType === 'qwen3_moe') return inEveryLayer(used ? fields.size('sliding_window', 4096) : undefined);
  const slidingWindow = used ? (fields.optionalSize('sliding_window') ?? undefined) : undefined;
  const listed = parseLayerTypes(fields, layers);
  if (listed !== undefined) {
    if (listed.includes('sliding_attention') && slidingWindow === undefined) {
      fields.fail('sliding_window', 'a size, with use_sliding_window true, since layer_types has sliding_attention');
    }
    return { layerTypes: listed, slidingWindow };
  }
  const first = slidingWindow === undefined ? layers : fields.number('max_window_layers', 28);
  const layerTypes = all('full_attention').map((type, i) => (i >= first ? 'sliding_attention' : type));
  return { layerTypes, slidingWindow };
}

function parseGpt2(fields: Fields): Gpt2Config {
  refuseOtherLayerTypes(fields, 'full_attention');
  for (const [name, supported] of GPT2_FIXED) {
    if (fields.boolean(name, supported) !== supported) fields.fail(name, `${supported} (nothing else is supported)`);
  }
  const either = (name: string, alias: string) => fields.size(fields.raw(name) === undefined ? alias : name);
  const hiddenSize = either('n_embd', 'hidden_size');
  const numAttentionHeads = either('n_head', 'num_attention_heads');
  if (hiddenSize % numAttentionHeads !== 0) fields.fail('n_embd', `a multiple of n_head (${numAttentionHeads})`);
  return {
    modelType: 'gpt2',
    ...parseCommon(fields, {
      hiddenSize,
      numAttentionHeads,
      numHiddenLayers: parseLayers(
        fields,
        undefined,
        fields.raw('n_layer') === undefined ? 'num_hidden_layers' : 'n_layer',
      ),
      maxPositionEmbeddings: either('n_positions', 'max_position_embeddings'),
    }),
    bosTokenId: fields.has('bos_token_id') ? fields.tokenId('bos_token_id') : 50256,
    eosTokenIds: fields.has('eos_token_id') ? (fields.tokenIds('eos_token_id') ?? []) : [50256],
    intermediateSize: fields.size('n_inner', 4 * hiddenSize),
    hiddenAct: fields.oneOf('activation_function', ACTIVATIONS, 'gelu_new'),
    tieWordEmbeddings: fields.boolean('tie_word_embeddings', true),
    layerNormEps: fields.positive('layer_norm_epsilon', 1e-5),
  };
}

/** Switches of GPT-2 that would change the maths. */
const GPT2_FIXED: readonly (readonly [string, boolean])[] = [
  ['scale_attn_weights', true],
  ['scale_attn_by_inverse_layer_idx', false],
  ['add_cross_attention', false],
];

function llamaTokenDefaults(fields: Fields): Pick<CommonConfig, 'bosTokenId' | 'eosTokenIds'> {
  return {
    bosTokenId: fields.has('bos_token_id') ? fields.tokenId('bos_token_id') : 1,
    eosTokenIds: fields.has('eos_token_id') ? (fields.tokenIds('eos_token_id') ?? []) : [2],
  };
}
