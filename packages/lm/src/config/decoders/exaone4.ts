import { type DecoderFamily, NORMS_BEHIND, rmsNorm, rotary, windows } from '../decoder-family.js';

/** EXAONE 4 (arXiv 2507.11407): norms behind the sublayers, normalised heads; where layers have windows, the others know no positions. */
export const exaone4: DecoderFamily = {
  architecture: 'Exaone4ForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ num_key_value_heads: 32, hidden_act: 'silu', max_position_embeddings: 2048, rms_norm_eps: 1e-5 },
    ...{ bos_token_id: 0, eos_token_id: 2, sliding_window: 4096 },
  },
  read(fields, sizes) {
    const norm = rmsNorm(fields);
    const isHybrid = fields.raw('sliding_window') !== undefined;
    const pattern = isHybrid ? fields.size('sliding_window_pattern', 4) : 1;
    const chosen = windows(fields, sizes, (layer) => isHybrid && (layer + 1) % pattern !== 0);
    const layers = chosen.layerTypes.map((type) => !isHybrid || type === 'sliding_attention');
    return {
      norm,
      rotary: rotary(fields, sizes, { layers }),
      ...chosen,
      queryKeyNorm: { norm, over: 'head' },
      names: NORMS_BEHIND,
    };
  },
};
