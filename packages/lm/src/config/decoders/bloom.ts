import { type DecoderFamily, layerNorm } from '../decoder-family.js';

/** BLOOM (arXiv 2211.05100): ALiBi in the place of positions, a norm behind the embedding, LayerNorm and biases. */
export const bloom: DecoderFamily = {
  architecture: 'BloomForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ vocab_size: 250880, layer_norm_epsilon: 1e-5 },
    ...{ bos_token_id: 1, eos_token_id: 2, tie_word_embeddings: true },
    // ALiBi ends nowhere; the models were trained on 2048 tokens.
    seq_length: 2048,
  },
  aliases: { n_embed: 'hidden_size', num_hidden_layers: 'n_layer', num_attention_heads: 'n_head' },
  keys: { num_hidden_layers: 'n_layer', num_attention_heads: 'n_head', max_position_embeddings: 'seq_length' },
  says: { headDim: false, keyValueHeads: false },
  read(fields, { hiddenSize }) {
    fields.only('apply_residual_connection_post_layernorm', false);
    return {
      norm: layerNorm(fields, 'layer_norm_epsilon'),
      alibi: true,
      hiddenAct: 'gelu_new',
      intermediateSize: 4 * hiddenSize,
      biases: { qkv: true, output: true, mlp: true, head: false },
      names: {
        ...{ embedding: 'transformer.word_embeddings', embeddingNorm: 'transformer.word_embeddings_layernorm' },
        ...{ blocks: 'transformer.h', finalNorm: 'transformer.ln_f' },
        ...{ queryKeyValue: 'self_attention.query_key_value', output: 'self_attention.dense' },
        ...{ gate: undefined, up: 'mlp.dense_h_to_4h', down: 'mlp.dense_4h_to_h' },
      },
    };
  },
};
