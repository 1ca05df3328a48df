import { type DecoderFamily, rmsNorm, rotary } from '../decoder-family.js';
import { EXPERT_NAMES, readMixture } from '../experts-config.js';

/** OLMoE (arXiv 2409.02060): experts in every layer, and norms over all queries and over all keys. */
export const olmoe: DecoderFamily = {
  architecture: 'OlmoeForCausalLM',
  classifiers: [],
  defaults: {
    ...{ hidden_act: 'silu', max_position_embeddings: 4096, rms_norm_eps: 1e-5 },
    ...{ pad_token_id: 1, eos_token_id: 50279, num_experts: 64, num_experts_per_tok: 8 },
  },
  aliases: { num_local_experts: 'num_experts' },
  read(fields, sizes) {
    const bias = fields.boolean('attention_bias', false);
    const clip = fields.optionalNumber('clip_qkv');
    const norm = rmsNorm(fields);
    return {
      norm,
      rotary: rotary(fields, sizes),
      biases: { qkv: bias, output: bias, mlp: false, head: false },
      queryKeyNorm: { norm, over: 'all' },
      ...(clip !== undefined && { clip }),
      experts: readMixture(fields, sizes.layers, {
        count: ['num_experts'],
        intermediateSize: fields.size('intermediate_size'),
        normalizeWeights: fields.boolean('norm_topk_prob', false),
        lossCoefficient: 0.01,
      }),
      names: { experts: EXPERT_NAMES },
    };
  },
};
