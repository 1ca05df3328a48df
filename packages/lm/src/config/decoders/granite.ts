import { type DecoderFamily, rmsNorm, rotary } from '../decoder-family.js';

/** Granite 3 (arXiv 2408.13359): Llama's blocks, with factors for embeddings, sublayers, scores and logits. */
export const granite: DecoderFamily = {
  architecture: 'GraniteForCausalLM',
  classifiers: [],
  defaults: {
    ...{ hidden_act: 'silu', max_position_embeddings: 2048, rms_norm_eps: 1e-6 },
    ...{ bos_token_id: 1, eos_token_id: 2 },
  },
  read(fields, sizes) {
    const bias = fields.boolean('attention_bias', false);
    return {
      norm: rmsNorm(fields),
      rotary: rotary(fields, sizes),
      biases: { qkv: bias, output: bias, mlp: fields.boolean('mlp_bias', false), head: false },
      factors: {
        embedding: fields.number('embedding_multiplier', 1),
        residual: fields.number('residual_multiplier', 1),
        scores: fields.number('attention_multiplier', 1),
        logits: 1 / fields.positive('logits_scaling', 1),
      },
    };
  },
};
