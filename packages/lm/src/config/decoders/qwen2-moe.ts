import { type DecoderFamily, rmsNorm, rotary, windows } from '../decoder-family.js';
import { EXPERT_NAMES, readMixture, sparseBySteps } from '../experts-config.js';

/**
 * Qwen1.5-MoE and Qwen2-MoE (arXiv 2407.10671): Qwen2's blocks with experts, of which one is shared by all tokens and has a gate
 * of its own.
 */
export const qwen2Moe: DecoderFamily = {
  architecture: 'Qwen2MoeForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ num_key_value_heads: 16, hidden_act: 'silu', max_position_embeddings: 32768, rms_norm_eps: 1e-6 },
    ...{ sliding_window: 4096, max_window_layers: 28, num_experts: 60, num_experts_per_tok: 4 },
    ...{ intermediate_size: 5632, moe_intermediate_size: 1408, shared_expert_intermediate_size: 5632 },
  },
  read(fields, sizes) {
    const slides = fields.boolean('use_sliding_window', false);
    const last = fields.number('max_window_layers');
    const chosen = windows(fields, sizes, (layer) => slides && layer % 2 === 0 && layer < last);
    if (!slides && chosen.layerTypes.includes('sliding_attention')) {
      fields.fail('layer_types', 'full_attention only without use_sliding_window');
    }
    const experts = readMixture(fields, sizes.layers, {
      count: ['num_experts'],
      intermediateSize: fields.size('moe_intermediate_size'),
      normalizeWeights: fields.boolean('norm_topk_prob', false),
      sparse: sparseBySteps(fields),
    });
    return {
      norm: rmsNorm(fields),
      rotary: rotary(fields, sizes),
      ...chosen,
      biases: { qkv: fields.boolean('qkv_bias', true), output: false, mlp: false, head: false },
      experts: { ...experts, sharedSize: fields.size('shared_expert_intermediate_size') },
      names: { experts: { ...EXPERT_NAMES, shared: 'shared_expert', sharedGate: 'shared_expert_gate' } },
    };
  },
};
