import { type DecoderFamily, rmsNorm, rotary } from '../decoder-family.js';

/** InternLM3: Llama's blocks, which have biases everywhere or nowhere. */
export const internlm3: DecoderFamily = {
  architecture: 'LlamaForCausalLM',
  classifiers: [],
  defaults: {
    ...{ num_key_value_heads: 2, head_dim: 128, hidden_act: 'silu', max_position_embeddings: 32768 },
    ...{ rms_norm_eps: 1e-5, bos_token_id: 1, eos_token_id: 2, pad_token_id: 2 },
  },
  aliases: { qkv_bias: 'attention_bias', bias: 'mlp_bias' },
  read(fields, sizes) {
    const qkv = fields.boolean('attention_bias', false);
    const bias = fields.boolean('mlp_bias', false);
    if (qkv !== bias) fields.fail('attention_bias', 'what mlp_bias is (transformers has no other)');
    return {
      norm: rmsNorm(fields),
      rotary: rotary(fields, sizes),
      biases: { qkv, output: qkv, mlp: bias, head: false },
    };
  },
};
