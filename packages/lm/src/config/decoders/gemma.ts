import { type DecoderFamily, FACTORS, rmsNorm, rotary } from '../decoder-family.js';

/** Gemma 1 (arXiv 2403.08295): Llama's blocks with RMSNorm · (1 + w), and embeddings that are multiplied by √width. */
export const gemma: DecoderFamily = {
  architecture: 'GemmaForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ vocab_size: 256000, hidden_size: 3072, intermediate_size: 24576, num_hidden_layers: 28 },
    ...{ num_attention_heads: 16, num_key_value_heads: 16, head_dim: 256, hidden_act: 'gelu_pytorch_tanh' },
    ...{ max_position_embeddings: 8192, rms_norm_eps: 1e-6, tie_word_embeddings: true },
    ...{ bos_token_id: 2, eos_token_id: 1, pad_token_id: 0 },
  },
  read(fields, sizes) {
    const bias = fields.boolean('attention_bias', false);
    // transformers rounds the factor to the type of the weights, and does not scale embeddings that it is given.
    const factor = Math.fround(Math.sqrt(sizes.hiddenSize));
    return {
      norm: { ...rmsNorm(fields), plusOne: true },
      rotary: rotary(fields, sizes),
      biases: { qkv: bias, output: bias, mlp: false, head: false },
      factors: { ...FACTORS, embedding: factor, scores: 1 / Math.sqrt(sizes.headDim), virtualTokens: 1 / factor },
      // The old name of the tanh approximation in this family's files.
      ...(fields.raw('hidden_act') === 'gelu' && { hiddenAct: 'gelu_pytorch_tanh' }),
    };
  },
};
