import { type DecoderFamily, rotary } from '../decoder-family.js';

/** OLMo 1 (arXiv 2402.00838): Llama's blocks with LayerNorm without parameters; queries, keys and values may be clipped. */
export const olmo: DecoderFamily = {
  architecture: 'OlmoForCausalLM',
  classifiers: ['sequence'],
  defaults: {
    ...{ vocab_size: 50304, hidden_act: 'silu', max_position_embeddings: 2048 },
    ...{ eos_token_id: 50279, pad_token_id: 1 },
  },
  read(fields, sizes) {
    const bias = fields.boolean('attention_bias', false);
    const clip = fields.raw('clip_qkv') === undefined ? undefined : fields.positive('clip_qkv');
    return {
      norm: { kind: 'layer', epsilon: 1e-5, plusOne: false, bias: false, weight: false },
      rotary: rotary(fields, sizes),
      biases: { qkv: bias, output: bias, mlp: false, head: false },
      ...(clip !== undefined && { clip }),
    };
  },
};
