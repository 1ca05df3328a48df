import { type DecoderFamily, rmsNorm, rotary, windows } from '../decoder-family.js';

/**
 * SmolLM3: Llama's blocks, of which every fourth knows no positions (NoPE, arXiv 2501.18795); those may have a sliding window.
 */
export const smollm3: DecoderFamily = {
  architecture: 'SmolLM3ForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ num_key_value_heads: 4, hidden_act: 'silu', max_position_embeddings: 32768, rms_norm_eps: 1e-6 },
    ...{ bos_token_id: 128000, eos_token_id: 128001, pad_token_id: 128004, tie_word_embeddings: true },
  },
  read(fields, sizes) {
    const interval = fields.size('no_rope_layer_interval', 4);
    const listed = fields.raw('no_rope_layers');
    const isFlags = (value: unknown): value is unknown[] => Array.isArray(value) && value.length >= sizes.layers;
    if (listed !== undefined && !isFlags(listed)) {
      fields.fail(
        'no_rope_layers',
        `a list with 1 for each of the ${sizes.layers} layers that turns, and 0 for others`,
      );
    }
    const layers = Array.from({ length: sizes.layers }, (_, layer) =>
      isFlags(listed) ? Boolean(listed[layer]) : (layer + 1) % interval !== 0,
    );
    const slides = fields.boolean('use_sliding_window', false) && fields.raw('sliding_window') !== undefined;
    const bias = fields.boolean('attention_bias', false);
    return {
      norm: rmsNorm(fields),
      rotary: rotary(fields, sizes, { theta: 2e6, layers }),
      ...windows(fields, sizes, (layer) => slides && !layers[layer]),
      biases: { qkv: bias, output: bias, mlp: fields.boolean('mlp_bias', false), head: false },
    };
  },
};
