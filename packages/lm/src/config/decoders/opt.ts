import type { DecoderFamily } from '../decoder-family.js';

/** OPT (arXiv 2205.01068): learned positions, LayerNorm, biases. OPT-350m, with norms behind the sublayers, is refused. */
export const opt: DecoderFamily = {
  architecture: 'OPTForCausalLM',
  classifiers: ['sequence'],
  defaults: {
    ...{ vocab_size: 50272, hidden_size: 768, num_hidden_layers: 12, ffn_dim: 3072, num_attention_heads: 12 },
    ...{ max_position_embeddings: 2048, activation_function: 'relu', bos_token_id: 2, eos_token_id: 2 },
    ...{ pad_token_id: 1, enable_bias: true, layer_norm_elementwise_affine: true, tie_word_embeddings: true },
  },
  keys: { intermediate_size: 'ffn_dim', hidden_act: 'activation_function', initializer_range: 'init_std' },
  says: { headDim: false, keyValueHeads: false },
  read(fields, { hiddenSize }) {
    fields.only('do_layer_norm_before', true);
    fields.only('_remove_final_layer_norm', false);
    const embedded = fields.optionalSize('word_embed_proj_dim') ?? hiddenSize;
    if (embedded !== hiddenSize) fields.fail('word_embed_proj_dim', `hidden_size (${hiddenSize})`);
    const bias = fields.boolean('enable_bias', false);
    const weight = fields.boolean('layer_norm_elementwise_affine', false);
    return {
      norm: { kind: 'layer', epsilon: 1e-5, plusOne: false, bias: weight, weight },
      // Of the days when the rows of padding came first.
      positionOffset: 2,
      biases: { qkv: bias, output: bias, mlp: bias, head: false },
      names: {
        ...{ embedding: 'model.decoder.embed_tokens', positions: 'model.decoder.embed_positions' },
        ...{
          blocks: 'model.decoder.layers',
          finalNorm: 'model.decoder.final_layer_norm',
          output: 'self_attn.out_proj',
        },
        ...{ gate: undefined, up: 'fc1', down: 'fc2' },
        ...{ beforeAttention: 'self_attn_layer_norm', beforeMlp: 'final_layer_norm' },
      },
    };
  },
};
