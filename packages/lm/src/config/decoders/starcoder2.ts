import { type DecoderFamily, layerNorm, rotary } from '../decoder-family.js';

/** StarCoder 2 (arXiv 2402.19173): LayerNorm, biases, an MLP without a gate, a sliding window in every layer. */
export const starcoder2: DecoderFamily = {
  architecture: 'Starcoder2ForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ vocab_size: 49152, num_key_value_heads: 2, hidden_act: 'gelu_pytorch_tanh', max_position_embeddings: 4096 },
    ...{ norm_epsilon: 1e-5, initializer_range: 0.018042, bos_token_id: 50256, eos_token_id: 50256 },
    ...{ use_bias: true, tie_word_embeddings: true },
  },
  read(fields, sizes) {
    const bias = fields.boolean('use_bias', false);
    const slidingWindow = fields.optionalSize('sliding_window');
    const type = slidingWindow === undefined ? 'full_attention' : 'sliding_attention';
    return {
      norm: layerNorm(fields, 'norm_epsilon'),
      rotary: rotary(fields, sizes),
      slidingWindow,
      layerTypes: Array.from({ length: sizes.layers }, () => type),
      biases: { qkv: bias, output: bias, mlp: bias, head: false },
      names: { gate: undefined, up: 'mlp.c_fc', down: 'mlp.c_proj' },
    };
  },
};
