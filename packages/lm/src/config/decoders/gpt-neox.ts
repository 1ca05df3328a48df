import { type DecoderFamily, layerNorm, rotary } from '../decoder-family.js';

/** GPT-NeoX (arXiv 2204.06745) and Pythia (arXiv 2304.01373): attention and MLP read the same stream, each through its own norm. */
export const gptNeox: DecoderFamily = {
  architecture: 'GPTNeoXForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ vocab_size: 50432, hidden_act: 'gelu', max_position_embeddings: 2048, layer_norm_eps: 1e-5 },
    ...{ bos_token_id: 0, eos_token_id: 2, attention_bias: true, use_parallel_residual: true },
  },
  keys: { rope_theta: 'rotary_emb_base', partial_rotary_factor: 'rotary_pct' },
  says: { headDim: false, keyValueHeads: false },
  read(fields, sizes) {
    const bias = fields.boolean('attention_bias', false);
    return {
      norm: layerNorm(fields),
      rotary: rotary(fields, sizes, { partial: 0.25 }),
      biases: { qkv: bias, output: bias, mlp: true, head: false },
      residual: fields.boolean('use_parallel_residual', false) ? 'parallel' : 'sequential',
      names: {
        ...{ embedding: 'gpt_neox.embed_in', blocks: 'gpt_neox.layers', finalNorm: 'gpt_neox.final_layer_norm' },
        storedHead: 'embed_out',
        ...{ queryKeyValue: 'attention.query_key_value', output: 'attention.dense' },
        ...{ gate: undefined, up: 'mlp.dense_h_to_4h', down: 'mlp.dense_4h_to_h' },
      },
    };
  },
};
