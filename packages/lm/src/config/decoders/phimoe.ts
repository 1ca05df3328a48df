import { type DecoderFamily, layerNorm, rotary } from '../decoder-family.js';
import { MIXTRAL_NAMES, readMixture } from '../experts-config.js';

/**
 * Phi-3.5-MoE (arXiv 2404.14219, arXiv 2409.12136): LayerNorm, biases, and sixteen experts of which SparseMixer chooses two. Here
 * routing is that of evaluation in training, too: nothing is drawn.
 */
export const phimoe: DecoderFamily = {
  architecture: 'PhimoeForCausalLM',
  classifiers: ['sequence'],
  defaults: {
    ...{ num_key_value_heads: 8, hidden_act: 'silu', max_position_embeddings: 131072, rms_norm_eps: 1e-5 },
    ...{ bos_token_id: 1, eos_token_id: 2, num_local_experts: 16, num_experts_per_tok: 2, router_jitter_noise: 0.01 },
  },
  read(fields, sizes) {
    const bias = fields.boolean('attention_bias', false);
    const turning = rotary(fields, sizes, { theta: 1e6 });
    if (turning.rope.type !== 'default')
      fields.fail('rope_parameters', 'of the type default (nothing else is supported)');
    const slidingWindow = fields.optionalSize('sliding_window');
    const type = slidingWindow === undefined ? 'full_attention' : 'sliding_attention';
    const experts = readMixture(fields, sizes.layers, {
      count: ['num_local_experts'],
      intermediateSize: fields.size('intermediate_size'),
      normalizeWeights: false,
    });
    if (experts.perToken !== 2) fields.fail('num_experts_per_tok', '2 (SparseMixer chooses two)');
    return {
      norm: layerNorm(fields, 'rms_norm_eps'),
      rotary: turning,
      slidingWindow,
      layerTypes: Array.from({ length: sizes.layers }, () => type),
      biases: { qkv: bias, output: bias, mlp: false, head: fields.boolean('lm_head_bias', false) },
      experts: { ...experts, routing: { type: 'sparsemixer', noise: fields.number('router_jitter_noise') } },
      names: { experts: MIXTRAL_NAMES },
    };
  },
};
