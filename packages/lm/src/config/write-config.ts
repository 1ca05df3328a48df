import { join } from 'node:path';
import { PosttrainError } from '@posttrain/interfaces';
import { writeAtomically } from '@posttrain/interfaces/node';
import type { JsonObject } from '../files.js';
import { decoderToJson } from './common-config.js';
import type { DecoderType } from './decoder-config.js';
import { DECODERS } from './decoders/index.js';
import { expertsConfigToJson } from './experts-config.js';
import { gemmaToJson } from './gemma-config.js';
import { headConfigToJson } from './head-config.js';
import type { Gpt2Config, ModelConfig, RotaryModelConfig } from './model-config.js';
import { olmo2ToJson } from './olmo2-config.js';
import { decoderConfigToJson } from './parse-decoder.js';
import { phi3ToJson } from './phi3-config.js';
import { quantizationConfigToJson } from './quantization-config.js';
import { ropeConfigToJson } from './rope-config.js';

/** The classes of transformers for causal language models. */
export const ARCHITECTURES: Readonly<Record<ModelConfig['modelType'], string>> = {
  ...Object.fromEntries(Object.entries(DECODERS).map(([type, { architecture }]) => [type, architecture])),
  llama: 'LlamaForCausalLM',
  mistral: 'MistralForCausalLM',
  mixtral: 'MixtralForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
  qwen3_moe: 'Qwen3MoeForCausalLM',
  gpt2: 'GPT2LMHeadModel',
  gemma2: 'Gemma2ForCausalLM',
  gemma3_text: 'Gemma3ForCausalLM',
  phi3: 'Phi3ForCausalLM',
  olmo2: 'Olmo2ForCausalLM',
} as Record<ModelConfig['modelType'], string>;

/**
 * The class of transformers for causal models of a type, from which `classifierHead` makes the name of a classifier's.
 *
 * @throws PosttrainError `HEAD` for a family without that class
 */
export function architectureWithHead(modelType: ModelConfig['modelType'], task: 'sequence' | 'token'): string {
  const own = modelType in DECODERS ? DECODERS[modelType as DecoderType].classifiers : [task];
  if (own.includes(task)) return ARCHITECTURES[modelType];
  throw new PosttrainError(
    'HEAD',
    `transformers has no class for ${task} classification with ${modelType}, so no head of that kind can be saved for it: take a model of another family, or a value head of TRL's.`,
  );
}

/** The `config.json` that `transformers` (4.40 and later) and `parseModelConfig` both read back as `config`. */
export function modelConfigToJson(config: ModelConfig): JsonObject {
  return {
    ...('keys' in config && decoderConfigToJson(config)),
    architectures: [ARCHITECTURES[config.modelType]],
    model_type: config.modelType,
    vocab_size: config.vocabSize,
    tie_word_embeddings: config.tieWordEmbeddings,
    ...(!('keys' in config) && { initializer_range: config.initializerRange }),
    bos_token_id: config.bosTokenId ?? null,
    eos_token_id: config.eosTokenIds.length > 1 ? config.eosTokenIds : (config.eosTokenIds[0] ?? null),
    pad_token_id: config.padTokenId ?? null,
    ...(config.dtype === undefined ? {} : { dtype: config.dtype, torch_dtype: config.dtype }),
    ...(config.quantization && { quantization_config: quantizationConfigToJson(config.quantization) }),
    ...architectureToJson(config),
    ...(config.head && headConfigToJson(config.head)),
  };
}

function architectureToJson(config: ModelConfig): JsonObject {
  if ('keys' in config) return {};
  switch (config.modelType) {
    case 'gpt2':
      return gpt2ToJson(config);
    case 'gemma2':
    case 'gemma3_text':
      return gemmaToJson(config);
    case 'phi3':
      return phi3ToJson(config);
    case 'olmo2':
      return olmo2ToJson(config);
    default:
      return { ...decoderToJson(config), ...ropeConfigToJson(config.rope), ...familyToJson(config) };
  }
}

/** Writes `config.json` into `folder`, atomically. */
export async function saveModelConfig(folder: string, config: ModelConfig): Promise<void> {
  await saveJson(join(folder, 'config.json'), modelConfigToJson(config));
}

const FLOAT_KEYS = [
  ...['initializer_range', 'rms_norm_eps', 'layer_norm_epsilon'],
  ...['attn_logit_softcapping', 'final_logit_softcapping', 'router_aux_loss_coef', 'llm_int8_threshold'],
];
/** Python tells 30 from 30.0, and transformers 5 refuses a config with an integer for a float. */
const WHOLE_FLOATS = new RegExp(`^ *"(?:${FLOAT_KEYS.join('|')})": \\d+(?=,?$)`, 'gm');

/** Writes an object the way `transformers` does: two spaces, sorted keys, a final newline; atomically. */
export async function saveJson(path: string, json: JsonObject): Promise<void> {
  const sorted = Object.fromEntries(Object.entries(json).sort(([a], [b]) => (a < b ? -1 : 1)));
  const text = JSON.stringify(sorted, null, 2).replace(WHOLE_FLOATS, '$&.0');
  const bytes = new TextEncoder().encode(`${text}\n`);
  await writeAtomically((files) => files.stage(path, (write) => write(bytes)));
}

function familyToJson(config: RotaryModelConfig): JsonObject {
  const window = {
    use_sliding_window: config.slidingWindow !== undefined,
    sliding_window: config.slidingWindow ?? null,
    layer_types: config.layerTypes,
  };
  switch (config.modelType) {
    case 'llama':
      return { attention_bias: config.outputBias, mlp_bias: config.mlpBias };
    case 'mistral':
      // With layer_types it is another architecture to transformers, which old versions do not have.
      return {
        sliding_window: config.slidingWindow ?? null,
        ...(new Set(config.layerTypes).size > 1 && { layer_types: config.layerTypes }),
      };
    case 'mixtral':
      return {
        sliding_window: config.slidingWindow ?? null,
        ...expertsConfigToJson('mixtral', config.experts, config.numHiddenLayers),
      };
    case 'qwen2':
      return window;
    case 'qwen3':
      return { attention_bias: config.outputBias, ...window };
    case 'qwen3_moe':
      return {
        attention_bias: config.outputBias,
        use_sliding_window: config.slidingWindow !== undefined,
        sliding_window: config.slidingWindow ?? null,
        ...expertsConfigToJson('qwen3_moe', config.experts, config.numHiddenLayers),
      };
  }
}

function gpt2ToJson(config: Gpt2Config): JsonObject {
  return {
    n_embd: config.hiddenSize,
    n_inner: config.intermediateSize,
    n_layer: config.numHiddenLayers,
    n_head: config.numAttentionHeads,
    n_positions: config.maxPositionEmbeddings,
    n_ctx: config.maxPositionEmbeddings,
    activation_function: config.hiddenAct,
    layer_norm_epsilon: config.layerNormEps,
  };
}
