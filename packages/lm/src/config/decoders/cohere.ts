import { type DecoderFamily, FACTORS, layerNorm, rotary, windows } from '../decoder-family.js';

const COHERE: DecoderFamily = {
  architecture: 'CohereForCausalLM',
  classifiers: [],
  defaults: {
    ...{ vocab_size: 256000, hidden_act: 'silu', max_position_embeddings: 8192, layer_norm_eps: 1e-5 },
    ...{ bos_token_id: 5, eos_token_id: 255001, pad_token_id: 0, tie_word_embeddings: true, logit_scale: 0.0625 },
  },
  read(fields, sizes) {
    const bias = fields.boolean('attention_bias', false);
    const norm = layerNorm(fields, 'layer_norm_eps', false);
    return {
      norm,
      rotary: rotary(fields, sizes, { theta: 5e5, pairs: 'neighbours' }),
      biases: { qkv: bias, output: bias, mlp: false, head: false },
      ...(fields.flag('use_qk_norm') && { queryKeyNorm: { norm, over: 'each' } }),
      residual: 'parallel',
      factors: { ...FACTORS, scores: 1 / Math.sqrt(sizes.headDim), logits: fields.number('logit_scale') },
      names: { beforeMlp: undefined },
    };
  },
};

/** Cohere's Command R and Aya 23 (arXiv 2405.15032): attention and MLP read one norm, and their outputs are added together. */
export const cohere: DecoderFamily = COHERE;

/** Command R7B and A (arXiv 2504.00698): three of four layers have a sliding window, the fourth knows no positions. */
export const cohere2: DecoderFamily = {
  ...COHERE,
  architecture: 'Cohere2ForCausalLM',
  defaults: { ...COHERE.defaults, sliding_window: 4096 },
  says: { headDim: false },
  read(fields, sizes) {
    const { queryKeyNorm: _, ...shape } = COHERE.read(fields, sizes);
    const pattern = fields.size('sliding_window_pattern', 4);
    const chosen = windows(fields, sizes, (layer) => (layer + 1) % pattern !== 0);
    const layers = chosen.layerTypes.map((type) => type === 'sliding_attention');
    return { ...shape, ...chosen, rotary: rotary(fields, sizes, { theta: 10000, pairs: 'neighbours', layers }) };
  },
};
