import { type DecoderFamily, layerNorm, rotary } from '../decoder-family.js';

/** Phi-1, 1.5 (arXiv 2309.05463) and 2: attention and MLP read one norm; biases everywhere, of the output layer too. */
export const phi: DecoderFamily = {
  architecture: 'PhiForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ vocab_size: 51200, hidden_size: 2048, intermediate_size: 8192, num_hidden_layers: 24 },
    ...{ num_attention_heads: 32, hidden_act: 'gelu_new', max_position_embeddings: 2048, layer_norm_eps: 1e-5 },
    ...{ bos_token_id: 1, eos_token_id: 2 },
  },
  read(fields, sizes) {
    const norm = layerNorm(fields);
    return {
      norm,
      rotary: rotary(fields, sizes, { partial: 0.5 }),
      biases: { qkv: true, output: true, mlp: true, head: true },
      ...(fields.boolean('qk_layernorm', false) && { queryKeyNorm: { norm, over: 'head' } }),
      residual: 'parallel',
      names: {
        ...{ finalNorm: 'model.final_layernorm', output: 'self_attn.dense', beforeMlp: undefined },
        ...{ queryNorm: 'self_attn.q_layernorm', keyNorm: 'self_attn.k_layernorm' },
        ...{ gate: undefined, up: 'mlp.fc1', down: 'mlp.fc2' },
      },
    };
  },
};
