import { type DecoderFamily, layerNorm, rotary } from '../decoder-family.js';

/** StableLM 2 (arXiv 2402.17834): Llama's blocks with LayerNorm, of which a quarter of each head turns. */
export const stablelm: DecoderFamily = {
  architecture: 'StableLmForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ vocab_size: 50304, num_key_value_heads: 32, hidden_act: 'silu', max_position_embeddings: 4096 },
    ...{ layer_norm_eps: 1e-5, bos_token_id: 0, eos_token_id: 0 },
  },
  says: { headDim: false },
  read(fields, sizes) {
    fields.only('qk_layernorm', false);
    const isParallel = fields.boolean('use_parallel_residual', false);
    return {
      norm: layerNorm(fields),
      rotary: rotary(fields, sizes, { partial: 0.25 }),
      biases: { qkv: fields.boolean('use_qkv_bias', false), output: false, mlp: false, head: false },
      ...(isParallel && { residual: 'parallel', names: { beforeMlp: undefined } }),
    };
  },
};
