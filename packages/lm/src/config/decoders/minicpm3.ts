import { type DecoderFamily, latentAttention, rmsNorm } from '../decoder-family.js';

/** MiniCPM 3 (arXiv 2404.06395 and the attention of arXiv 2405.04434): latent attention, factors of embeddings, sublayers and logits. */
export const minicpm3: DecoderFamily = {
  architecture: 'MiniCPM3ForCausalLM',
  classifiers: ['sequence'],
  defaults: {
    ...{ num_key_value_heads: 40, hidden_act: 'silu', max_position_embeddings: 32768, rms_norm_eps: 1e-5 },
    ...{ bos_token_id: 1, eos_token_id: 2, tie_word_embeddings: true, initializer_range: 0.1 },
    ...{ kv_lora_rank: 256, q_lora_rank: 768, qk_nope_head_dim: 64, qk_rope_head_dim: 32 },
    ...{ scale_emb: 12, scale_depth: 1.4, dim_model_base: 256 },
  },
  says: { headDim: false },
  read(fields, sizes) {
    const attention = latentAttention(fields, sizes, 'halves');
    const depth = fields.optionalNumber('scale_depth') ?? Math.sqrt(sizes.layers);
    return {
      norm: rmsNorm(fields),
      ...attention,
      biases: { qkv: false, output: false, mlp: fields.boolean('mlp_bias', false), head: false },
      factors: {
        ...attention.factors,
        embedding: fields.number('scale_emb'),
        residual: depth / Math.sqrt(sizes.layers),
        logits: (fields.optionalNumber('dim_model_base') ?? sizes.hiddenSize) / sizes.hiddenSize,
      },
    };
  },
};
