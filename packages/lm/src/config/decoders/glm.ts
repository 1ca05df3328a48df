import { type DecoderFamily, rmsNorm, rotary } from '../decoder-family.js';

const GLM: DecoderFamily = {
  architecture: 'GlmForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ vocab_size: 151552, hidden_size: 4096, intermediate_size: 13696, num_hidden_layers: 40 },
    ...{ num_attention_heads: 32, num_key_value_heads: 2, head_dim: 128, hidden_act: 'silu' },
    ...{ max_position_embeddings: 131072, rms_norm_eps: 1.5625e-7, attention_bias: true },
    ...{ eos_token_id: [151329, 151336, 151338], pad_token_id: 151329 },
  },
  read: (fields, sizes) => ({
    norm: rmsNorm(fields),
    rotary: rotary(fields, sizes, { partial: 0.5, pairs: 'neighbours' }),
    biases: { qkv: fields.boolean('attention_bias', false), output: false, mlp: false, head: false },
    names: { gate: undefined, gateUp: 'mlp.gate_up_proj' },
  }),
};

/** GLM-4 of 2024 (arXiv 2406.12793): half of each head turns, in pairs of neighbours; gate and up are one projection. */
export const glm: DecoderFamily = GLM;

/** GLM-4-0414 and GLM-Z1: the same, with norms behind the sublayers too. */
export const glm4: DecoderFamily = {
  ...GLM,
  architecture: 'Glm4ForCausalLM',
  read(fields, sizes) {
    const { names, ...rest } = GLM.read(fields, sizes);
    return {
      ...rest,
      names: { ...names, afterAttention: 'post_self_attn_layernorm', afterMlp: 'post_mlp_layernorm' },
    };
  },
};
