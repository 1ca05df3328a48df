import { type DecoderFamily, rmsNorm, rotary, windows } from '../decoder-family.js';
import { Fields } from '../fields.js';

/** Ministral 8B: Mistral's blocks, of which each layer has a sliding window or has not. */
export const ministral: DecoderFamily = {
  architecture: 'MinistralForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ num_key_value_heads: 8, hidden_act: 'silu', max_position_embeddings: 131072, rms_norm_eps: 1e-6 },
    ...{ bos_token_id: 1, eos_token_id: 2, sliding_window: 4096 },
  },
  read: (fields, sizes) => ({
    norm: rmsNorm(fields),
    rotary: rotary(fields, sizes),
    ...windows(fields, sizes, () => fields.raw('sliding_window') !== undefined),
  }),
};

/** Ministral 3 (arXiv 2601.08584): Mistral's blocks with YaRN, whose queries grow with the position. */
export const ministral3: DecoderFamily = {
  architecture: 'Ministral3ForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ num_key_value_heads: 8, head_dim: 128, hidden_act: 'silu', max_position_embeddings: 262144 },
    ...{ rms_norm_eps: 1e-5, bos_token_id: 1, eos_token_id: 2, pad_token_id: 11 },
    rope_parameters: {
      ...{ rope_type: 'yarn', rope_theta: 1e6, factor: 16, original_max_position_embeddings: 16384, beta_fast: 32 },
      ...{ beta_slow: 1, mscale: 1, mscale_all_dim: 1, llama_4_scaling_beta: 0.1 },
    },
  },
  read(fields, sizes) {
    const path = `${fields.path} (rope parameters)`;
    const rope = new Fields(path, fields.object('rope_scaling') ?? fields.object('rope_parameters') ?? {});
    const beta = rope.number('llama_4_scaling_beta');
    const length =
      fields.optionalSize('original_max_position_embeddings') ?? rope.positive('original_max_position_embeddings');
    const slidingWindow = fields.optionalSize('sliding_window');
    const type = slidingWindow === undefined ? 'full_attention' : 'sliding_attention';
    return {
      norm: rmsNorm(fields),
      rotary: { ...rotary(fields, sizes), growth: { beta, length } },
      slidingWindow,
      layerTypes: Array.from({ length: sizes.layers }, () => type),
    };
  },
};
