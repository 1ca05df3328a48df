import { attentionFactorOf } from '../config/phi3-config.js';
import type { JsonObject } from '../files.js';
import type { ArchitectureKeys } from './architecture-keys.js';
import { llama3Scaling } from './llama3-scaling.js';
import { shortestDecimal } from './metadata.js';

const THETA = 10000;

/** The part of `config.json` that differs by family. */
export async function familyConfig(keys: ArchitectureKeys, modelType: string): Promise<JsonObject> {
  switch (modelType) {
    case 'gpt2':
      return gpt2(keys);
    case 'gemma2':
      return gemma2(keys);
    case 'gemma3_text':
      return gemma3(keys);
    case 'phi3':
      return phi3(keys);
    case 'llama':
      return llama(keys);
    case 'mixtral':
      return { ...(await llama(keys)), ...experts(keys), model_type: 'mixtral' };
    case 'qwen3_moe':
      return qwen3Moe(keys);
    case 'qwen2':
      return { ...(await rotary(keys)), attention_bias: hasBias(keys, 'attn_output') };
    default:
      return { ...(await rotary(keys)), attention_bias: hasBias(keys, 'attn_q') };
  }
}

function gpt2(keys: ArchitectureKeys): JsonObject {
  return {
    n_embd: keys.size('embedding_length'),
    n_layer: keys.size('block_count'),
    n_head: keys.size('attention.head_count'),
    n_positions: keys.size('context_length'),
    n_inner: keys.size('feed_forward_length'),
    layer_norm_epsilon: keys.positive('attention.layer_norm_epsilon'),
  };
}

/** Sizes of a decoder with rotary positions. */
function sizes(keys: ArchitectureKeys) {
  const heads = keys.size('attention.head_count');
  const hiddenSize = keys.size('embedding_length');
  const headDim = keys.optionalSize('attention.key_length') ?? hiddenSize / heads;
  const valueLength = keys.optionalSize('attention.value_length') ?? headDim;
  if (valueLength !== headDim) {
    throw keys.unsupported('attention.value_length', `is ${valueLength} where keys have ${headDim}.`);
  }
  const json = {
    hidden_size: hiddenSize,
    num_hidden_layers: keys.size('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: keys.optionalSize('attention.head_count_kv') ?? heads,
    intermediate_size: keys.size('feed_forward_length'),
    max_position_embeddings: keys.size('context_length'),
    head_dim: headDim,
    rms_norm_eps: keys.positive('attention.layer_norm_rms_epsilon'),
  };
  return { heads, hiddenSize, headDim, json };
}

/** A decoder all of whose layers attend fully and turn whole heads. */
async function rotary(keys: ArchitectureKeys): Promise<JsonObject> {
  const { json, headDim } = sizes(keys);
  const window = keys.optionalSize('attention.sliding_window');
  if (window !== undefined) throw keys.unsupported('attention.sliding_window', `is ${window}, but of which layers?`);
  return { ...json, rope_parameters: await ropeParameters(keys, headDim) };
}

async function llama(keys: ArchitectureKeys): Promise<JsonObject> {
  const { json, headDim } = sizes(keys);
  const window = windowOfAll(keys);
  return {
    ...json,
    rope_parameters: await ropeParameters(keys, headDim),
    attention_bias: hasBias(keys, 'attn_q'),
    mlp_bias: hasBias(keys, 'ffn_gate'),
    ...(window !== undefined && { model_type: 'mistral', sliding_window: window }),
  };
}

const experts = (keys: ArchitectureKeys) => ({
  num_local_experts: keys.size('expert_count'),
  num_experts_per_tok: keys.size('expert_used_count'),
});

/** Weights of the chosen experts are made to sum to 1, as llama.cpp does; layers without a router are dense. */
async function qwen3Moe(keys: ArchitectureKeys): Promise<JsonObject> {
  const layers = Array.from({ length: keys.size('block_count') }, (_, layer) => layer);
  return {
    ...(await rotary(keys)),
    ...experts(keys),
    moe_intermediate_size: keys.size('expert_feed_forward_length'),
    norm_topk_prob: true,
    mlp_only_layers: layers.filter((layer) => !keys.file.tensors.has(`blk.${layer}.ffn_gate_inp.weight`)),
    attention_bias: hasBias(keys, 'attn_q'),
  };
}

/**
 * Windows alternate as in all Gemma 2 models, which the file does not say. The first files of Gemma 2 have neither the window
 * nor the caps: llama.cpp and transformers take the same numbers then, which `parseModelConfig` has.
 */
async function gemma2(keys: ArchitectureKeys): Promise<JsonObject> {
  const cap = keys.decimal('attn_logit_softcapping');
  const slides = keys.booleans('attention.sliding_window_pattern');
  const { final_logit_softcapping, sliding_window, ...shared } = gemma(keys, 46);
  return {
    ...shared,
    ...(final_logit_softcapping !== undefined && { final_logit_softcapping: final_logit_softcapping || null }),
    ...(cap !== undefined && { attn_logit_softcapping: cap }),
    ...(sliding_window !== undefined && { sliding_window }),
    ...(slides && { layer_types: layerTypes(slides) }),
    rope_parameters: await ropeParameters(keys, sizes(keys).headDim),
  };
}

async function gemma3(keys: ArchitectureKeys): Promise<JsonObject> {
  const { headDim } = sizes(keys);
  const slides = keys.booleans('attention.sliding_window_pattern');
  const { final_logit_softcapping, ...shared } = gemma(keys, 62);
  return {
    ...shared,
    sliding_window: keys.size('attention.sliding_window'),
    final_logit_softcapping: final_logit_softcapping || null,
    ...(slides && { layer_types: layerTypes(slides) }),
    rope_parameters: {
      full_attention: { ...(await ropeParameters(keys, headDim)), rope_theta: keys.decimal('rope.freq_base') ?? 1e6 },
      sliding_attention: { rope_type: 'default', rope_theta: keys.decimal('rope.freq_base_swa') ?? THETA },
    },
  };
}

const layerTypes = (slides: readonly boolean[]) =>
  slides.map((slides) => (slides ? 'sliding_attention' : 'full_attention'));

/** The window of all layers; undefined where there is none. */
function windowOfAll(keys: ArchitectureKeys): number | undefined {
  const window = keys.optionalSize('attention.sliding_window');
  if (window === undefined) return undefined;
  if (!(keys.booleans('attention.sliding_window_pattern') ?? []).every((slides) => slides)) {
    throw keys.unsupported('attention.sliding_window_pattern', 'has layers without the window.');
  }
  return window;
}

/**
 * What scores are divided by is not in the file: the root of the head width, except in the 27B models, known by their
 * layers, where it is that of width / heads.
 */
function gemma(keys: ArchitectureKeys, layersOf27B: number) {
  const { json, heads, hiddenSize, headDim } = sizes(keys);
  return {
    ...json,
    query_pre_attn_scalar: keys.size('block_count') === layersOf27B ? hiddenSize / heads : headDim,
    final_logit_softcapping: keys.decimal('final_logit_softcapping'),
    sliding_window:
      keys.number('attention.sliding_window') === undefined ? undefined : keys.size('attention.sliding_window'),
  };
}

async function phi3(keys: ArchitectureKeys): Promise<JsonObject> {
  const { json, headDim } = sizes(keys);
  const own = {
    rope_theta: keys.decimal('rope.freq_base') ?? THETA,
    partial_rotary_factor: (keys.optionalSize('rope.dimension_count') ?? headDim) / headDim,
  };
  const { file } = keys;
  const config = { ...json, sliding_window: windowOfAll(keys) ?? null };
  const type = keys.text('rope.scaling.type') ?? 'none';
  const factor = ropeFactor(keys) ?? 1;
  if (!file.tensors.has('rope_factors_long.weight')) {
    if (type !== 'none') throw keys.unsupported('rope.scaling.type', `is ${type}, but there are no factors of pairs.`);
    if (factor !== 1) throw keys.unsupported('rope.scaling.factor', `is ${factor}; there is no model with it.`);
    checkAttentionFactor(keys);
    return { ...config, rope_parameters: { rope_type: 'default', ...own } };
  }
  if (!['none', 'longrope'].includes(type) || factor !== 1) {
    throw keys.unsupported('rope.scaling.type', `is ${type} with factor ${factor} beside rope_factors_long.weight.`);
  }
  const factors = async (kind: string) => Array.from(await file.read(`rope_factors_${kind}.weight`), shortestDecimal);
  const original = keys.size('rope.scaling.original_context_length');
  const attention = keys.decimal('rope.scaling.attn_factor');
  const computed = attentionFactorOf(keys.size('context_length') / original, original);
  return {
    ...config,
    original_max_position_embeddings: original,
    rope_parameters: {
      rope_type: 'longrope',
      ...own,
      long_factor: await factors('long'),
      short_factor: await factors('short'),
      // Written by converters as a float32 even where config.json does not say it.
      ...(attention !== undefined &&
        Math.fround(computed) !== Math.fround(attention) && { attention_factor: attention }),
    },
  };
}

/** How positions are scaled: named in the metadata, except Llama 3's, whose divisors are a tensor. */
async function ropeParameters(keys: ArchitectureKeys, headDim: number): Promise<JsonObject> {
  checkRotaryWidth(keys, headDim);
  const { file } = keys;
  const theta = keys.decimal('rope.freq_base') ?? THETA;
  const type = keys.text('rope.scaling.type') ?? 'none';
  const factor = ropeFactor(keys);
  checkAttentionFactor(keys);
  if (file.tensors.has('rope_freqs.weight')) {
    if (type !== 'none' || (factor ?? 1) !== 1) {
      throw keys.unsupported('rope.scaling.type', `is ${type} with factor ${factor ?? 1} beside rope_freqs.weight.`);
    }
    const divisors = await file.read('rope_freqs.weight');
    return { rope_theta: theta, ...llama3Scaling(file.path, divisors, { theta, headDim }) };
  }
  if (type === 'none' && (factor ?? 1) === 1) return { rope_theta: theta, rope_type: 'default' };
  if (type === 'yarn') {
    return {
      rope_theta: theta,
      rope_type: type,
      factor,
      original_max_position_embeddings: keys.size('rope.scaling.original_context_length'),
      beta_fast: keys.decimal('rope.scaling.yarn_beta_fast') ?? 32,
      beta_slow: keys.decimal('rope.scaling.yarn_beta_slow') ?? 1,
    };
  }
  return { rope_theta: theta, rope_type: type === 'none' ? 'linear' : type, factor };
}

const ropeFactor = (keys: ArchitectureKeys): number | undefined =>
  keys.decimal('rope.scaling.factor') ?? keys.decimal('rope.scale_linear');

/** What llama.cpp multiplies cos and sin by, whatever the scaling. */
function checkAttentionFactor(keys: ArchitectureKeys): void {
  const attention = keys.decimal('rope.scaling.attn_factor') ?? 1;
  if (attention !== 1)
    throw keys.unsupported('rope.scaling.attn_factor', `is ${attention}; there is no model with it.`);
}

function checkRotaryWidth(keys: ArchitectureKeys, headDim: number): void {
  const width = keys.optionalSize('rope.dimension_count') ?? headDim;
  if (width !== headDim) throw keys.unsupported('rope.dimension_count', `is ${width} of ${headDim} in a head.`);
  for (const key of ['rope.dimension_count_swa', 'attention.key_length_swa', 'attention.value_length_swa']) {
    const own = keys.optionalSize(key) ?? headDim;
    if (own !== headDim) throw keys.unsupported(key, `is ${own} where other layers have ${headDim}.`);
  }
}

const hasBias = ({ file }: ArchitectureKeys, part: string): boolean => file.tensors.has(`blk.0.${part}.bias`);
