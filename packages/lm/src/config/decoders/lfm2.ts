import { type DecoderFamily, type DecoderFields, rmsNorm, rotary } from '../decoder-family.js';

/** The width inside an MLP: transformers takes two thirds of what the file says, times a factor, up to the next multiple, unless told not to. */
function innerSize(fields: DecoderFields): number {
  const said = fields.size('block_ff_dim', fields.size('intermediate_size'));
  const factor = fields.optionalNumber('block_ffn_dim_multiplier');
  const multiple = fields.size('block_multiple_of');
  if (!fields.boolean('block_auto_adjust_ff_dim', true)) return said;
  const reduced = Math.trunc((2 * said) / 3);
  if (factor === undefined) return reduced;
  const inner = multiple * Math.ceil(Math.trunc(factor * reduced) / multiple);
  return inner >= 1 ? inner : fields.fail('block_ffn_dim_multiplier', 'such that an MLP has a width');
}

/** Which layers attend; the others convolve. */
function attending(fields: DecoderFields, layers: number): boolean[] {
  const types = fields.raw('layer_types');
  const indices = fields.raw('full_attn_idxs');
  if (types !== undefined) {
    const valid = (type: unknown) => type === 'full_attention' || type === 'conv';
    if (Array.isArray(types) && types.length === layers && types.every(valid)) {
      return types.map((type) => type === 'full_attention');
    }
    return fields.fail('layer_types', `a list of ${layers} of full_attention and conv`);
  }
  if (indices === undefined) return Array.from({ length: layers }, () => true);
  if (!Array.isArray(indices)) return fields.fail('full_attn_idxs', 'a list of layer indices');
  return Array.from({ length: layers }, (_, layer) => indices.includes(layer));
}

/** LFM2 (arXiv 2511.23404): most layers have a gated short convolution in the place of attention. */
export const lfm2: DecoderFamily = {
  architecture: 'Lfm2ForCausalLM',
  classifiers: [],
  defaults: {
    ...{ num_key_value_heads: 8, max_position_embeddings: 128000, norm_eps: 1e-5, tie_word_embeddings: true },
    ...{ bos_token_id: 1, eos_token_id: 2, pad_token_id: 0, conv_bias: false, conv_L_cache: 3 },
    ...{ block_multiple_of: 256, block_ffn_dim_multiplier: 1, block_auto_adjust_ff_dim: true },
  },
  read(fields, sizes) {
    const isTied = fields.boolean('tie_word_embeddings', true);
    if (fields.boolean('tie_embedding', isTied) !== isTied)
      fields.fail('tie_embedding', `${isTied}, as tie_word_embeddings`);
    const attends = attending(fields, sizes.layers);
    const inner = innerSize(fields);
    if (sizes.hiddenSize % (2 * sizes.numKeyValueHeads) !== 0) {
      fields.fail('hidden_size', `a multiple of 2 · num_key_value_heads (${2 * sizes.numKeyValueHeads})`);
    }
    return {
      norm: rmsNorm(fields, 'norm_eps'),
      rotary: rotary(fields, sizes, { theta: 1e6 }),
      hiddenAct: 'silu',
      intermediateSize: inner,
      queryKeyNorm: { norm: rmsNorm(fields, 'norm_eps'), over: 'head' },
      convolution: {
        layers: attends.map((attends) => !attends),
        taps: fields.size('conv_L_cache', undefined, 1000),
        bias: fields.boolean('conv_bias', false),
      },
      written: {
        ...{ intermediate_size: inner, block_auto_adjust_ff_dim: false },
        ...(fields.has('block_ff_dim') && { block_ff_dim: inner }),
        ...(fields.has('tie_embedding') && { tie_embedding: undefined }),
      },
      names: {
        ...{ output: 'self_attn.out_proj', queryNorm: 'self_attn.q_layernorm', keyNorm: 'self_attn.k_layernorm' },
        ...{ gate: 'feed_forward.w1', up: 'feed_forward.w3', down: 'feed_forward.w2' },
        ...{ beforeAttention: 'operator_norm', beforeMlp: 'ffn_norm', finalNorm: 'model.embedding_norm' },
      },
    };
  },
};
