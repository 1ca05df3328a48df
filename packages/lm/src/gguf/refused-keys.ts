import type { ArchitectureKeys } from './architecture-keys.js';

/** Numbers that llama.cpp multiplies or adds and these families do not have; 0 and absent mean without. */
const WITHOUT = [
  ...['logit_scale', 'residual_scale', 'embedding_scale', 'attention.clamp_kqv', 'attention.max_alibi_bias'],
  ...['attention.scale', 'attention.output_scale', 'attention.value_scale', 'attention.temperature_scale'],
  ...['attention.temperature_length', 'attention.chunk_size', 'leading_dense_block_count', 'nextn_predict_layers'],
  ...[
    'interleave_moe_layer_step',
    'expert_shared_count',
    'expert_shared_feed_forward_length',
    'expert_chunk_feed_forward_length',
  ],
  ...['rope.scaling.alpha', 'attention.shared_kv_layers'],
  ...['rope.scaling.yarn_log_multiplier', 'decoder_start_token_id', 'decoder_block_count', 'pooling_type'],
];
/** Of these the given numbers, too, mean what is done here. */
const HARMLESS: Readonly<Record<string, readonly number[]>> = {
  'rope.scaling.yarn_ext_factor': [1, -1],
  'rope.scaling.yarn_attn_factor': [1],
  expert_weights_scale: [1],
  // None said, and softmax.
  expert_gating_func: [1],
  expert_group_count: [1],
  expert_group_used_count: [1],
};
/** Switches, and how they stand here. */
const SWITCHES: Readonly<Record<string, boolean>> = {
  'attention.causal': true,
  use_parallel_residual: false,
  swin_norm: false,
  expert_weights_norm: true,
};
/** Caps that one family has. */
const CAPS: Readonly<Record<string, readonly string[]>> = {
  attn_logit_softcapping: ['gemma2'],
  final_logit_softcapping: ['gemma2', 'gemma3_text'],
  router_logit_softcapping: [],
};

/**
 * Refuses what would change the numbers and has no model here.
 *
 * @throws UnsupportedGgufError naming the key; InvalidGgufError for a value of another kind
 */
export function refuseUnsupportedKeys(keys: ArchitectureKeys, modelType: string, hasExperts: boolean): void {
  const refuse = (key: string, value: unknown): never => {
    throw keys.unsupported(key, `is ${String(value)}; there is no model with it.`);
  };
  for (const key of hasExperts ? WITHOUT : [...WITHOUT, 'expert_count']) {
    const value = keys.number(key) ?? 0;
    if (value !== 0) refuse(key, value);
  }
  for (const [key, harmless] of Object.entries(HARMLESS)) {
    const value = keys.number(key) ?? 0;
    if (value !== 0 && !harmless.includes(value)) refuse(key, value);
  }
  for (const [key, state] of Object.entries(SWITCHES)) {
    const value = keys.boolean(key);
    if (value !== undefined && value !== state) refuse(key, value);
  }
  for (const [key, families] of Object.entries(CAPS)) {
    const value = keys.number(key) ?? 0;
    if (value !== 0 && !families.includes(modelType)) refuse(key, value);
  }
  // Sliding layers turn as the others, except Gemma 3's.
  const base = keys.number('rope.freq_base_swa');
  if (modelType !== 'gemma3_text' && base !== undefined && base !== (keys.number('rope.freq_base') ?? 10000)) {
    refuse('rope.freq_base_swa', base);
  }
  const sections = keys.numbers('rope.dimension_sections') ?? [];
  if (sections.some((section) => section !== 0)) refuse('rope.dimension_sections', `[${sections.join(', ')}]`);
}
