import { type DecoderFamily, layerNorm, rotary } from '../decoder-family.js';

/**
 * Falcon 7B, 40B and 180B (arXiv 2311.16867): one projection for queries, keys and values; attention and MLP side by side, with a
 * norm each where there are two. Falcon-RW, with ALiBi, is refused.
 */
export const falcon: DecoderFamily = {
  architecture: 'FalconForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ vocab_size: 65024, hidden_size: 4544, num_hidden_layers: 32, num_attention_heads: 71 },
    ...{ activation: 'gelu', max_position_embeddings: 2048, layer_norm_epsilon: 1e-5 },
    ...{ bos_token_id: 11, eos_token_id: 11, tie_word_embeddings: true, multi_query: true, parallel_attn: true },
  },
  aliases: { n_embed: 'hidden_size' },
  keys: { num_key_value_heads: 'num_kv_heads', intermediate_size: 'ffn_hidden_size', hidden_act: 'activation' },
  says: { headDim: false, keyValueHeads: false },
  read(fields, sizes) {
    if (fields.flag('alibi')) fields.fail('alibi', 'false (nothing else is supported)');
    const bias = fields.flag('bias');
    const isNew = fields.flag('new_decoder_architecture');
    const isMultiQuery = fields.flag('multi_query');
    const isParallel = fields.flag('parallel_attn');
    const norms = fields.size('num_ln_in_parallel_attn', isNew ? 2 : 1);
    if (isNew && !isParallel) fields.fail('parallel_attn', 'true with new_decoder_architecture');
    if (isParallel && !isNew && norms === 2)
      fields.fail('num_ln_in_parallel_attn', '1 without new_decoder_architecture');
    const ownHeads = isNew ? fields.size('num_key_value_heads', sizes.numAttentionHeads) : undefined;
    if (ownHeads !== undefined && sizes.numAttentionHeads % ownHeads !== 0) {
      fields.fail('num_key_value_heads', `a divisor of num_attention_heads (${sizes.numAttentionHeads})`);
    }
    return {
      norm: layerNorm(fields, 'layer_norm_epsilon'),
      rotary: rotary(fields, sizes),
      numKeyValueHeads: ownHeads ?? (isMultiQuery ? 1 : sizes.numAttentionHeads),
      biases: { qkv: bias, output: bias, mlp: bias, head: false },
      residual: isParallel ? 'parallel' : 'sequential',
      names: {
        ...{ embedding: 'transformer.word_embeddings', blocks: 'transformer.h', finalNorm: 'transformer.ln_f' },
        ...{ queryKeyValue: 'self_attention.query_key_value', output: 'self_attention.dense' },
        ...{ gate: undefined, up: 'mlp.dense_h_to_4h', down: 'mlp.dense_4h_to_h' },
        ...(isParallel && { beforeMlp: undefined }),
        ...(isParallel && norms === 2 && { beforeAttention: 'ln_attn', beforeMlp: 'ln_mlp' }),
      },
    };
  },
};
