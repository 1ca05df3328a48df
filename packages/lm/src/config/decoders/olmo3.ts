import { type DecoderFamily, NORMS_BEHIND, rmsNorm, rotaryByType, windows } from '../decoder-family.js';

/** OLMo 3: OLMo 2 (arXiv 2501.00656) with sliding windows in three of four layers; only full attention is stretched (YaRN). */
export const olmo3: DecoderFamily = {
  architecture: 'Olmo3ForCausalLM',
  classifiers: ['sequence'],
  defaults: {
    ...{ vocab_size: 50304, hidden_act: 'silu', max_position_embeddings: 2048, rms_norm_eps: 1e-5 },
    ...{ eos_token_id: 50279, pad_token_id: 1, sliding_window: 4096 },
  },
  read(fields, sizes) {
    const bias = fields.boolean('attention_bias', false);
    const norm = rmsNorm(fields);
    return {
      norm,
      rotary: rotaryByType(fields, sizes, 5e5),
      ...windows(fields, sizes, (layer) => (layer + 1) % 4 !== 0),
      biases: { qkv: bias, output: bias, mlp: false, head: false },
      queryKeyNorm: { norm, over: 'all' },
      names: NORMS_BEHIND,
    };
  },
};
