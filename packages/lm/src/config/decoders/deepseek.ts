import { type DecoderFamily, type DecoderFields, latentAttention, rmsNorm } from '../decoder-family.js';
import { EXPERT_NAMES, type GroupedRouting, readMixture } from '../experts-config.js';

const BIASES = { qkv: false, output: false, mlp: false, head: false } as const;
const NAMES = { ...EXPERT_NAMES, shared: 'shared_experts' } as const;

/** The experts of a DeepSeek: in all layers but the first, and one MLP as wide as `n_shared_experts` of them for all tokens. */
function experts(fields: DecoderFields, layers: number, normalizeWeights: boolean, routing: GroupedRouting) {
  const first = fields.number('first_k_dense_replace');
  const inner = fields.size('moe_intermediate_size');
  const mixture = readMixture(fields, layers, {
    count: ['n_routed_experts'],
    intermediateSize: inner,
    normalizeWeights,
    sparse: (layer) => layer >= first,
  });
  const { groups, chosen } = routing;
  if (mixture.count % groups !== 0) fields.fail('n_group', `a divisor of n_routed_experts (${mixture.count})`);
  if (mixture.count / groups < routing.best) fields.fail('n_group', `such that a group has ${routing.best} experts`);
  if (chosen > groups) fields.fail('topk_group', `at most n_group (${groups})`);
  const within = (chosen * mixture.count) / groups;
  if (mixture.perToken > within)
    fields.fail('num_experts_per_tok', `at most the ${within} experts of the chosen groups`);
  // transformers has no loss of the router for it.
  return { ...mixture, outputRouterLogits: false, routing, sharedSize: inner * fields.size('n_shared_experts') };
}

/** What DeepSeek's own code reads and transformers does not: anything but this would be another model. */
function refuseOthers(fields: DecoderFields, wanted: Readonly<Record<string, string | number | boolean>>): void {
  for (const [name, value] of Object.entries(wanted)) {
    if ((fields.raw(name) ?? value) !== value) fields.fail(name, `${value} (nothing else is supported)`);
  }
}

/** DeepSeek V2 and V2-Lite (arXiv 2405.04434): latent attention, and experts chosen by softmax, of a few groups. */
export const deepseekV2: DecoderFamily = {
  architecture: 'DeepseekV2ForCausalLM',
  classifiers: ['sequence'],
  defaults: {
    ...{ hidden_act: 'silu', max_position_embeddings: 2048, rms_norm_eps: 1e-6, bos_token_id: 1, eos_token_id: 2 },
    ...{ intermediate_size: 11008, moe_intermediate_size: 1407, n_routed_experts: 64, n_shared_experts: 2 },
    ...{ first_k_dense_replace: 0, kv_lora_rank: 512, q_lora_rank: 1536, qk_nope_head_dim: 128 },
    ...{ qk_rope_head_dim: 64, v_head_dim: 128, routed_scaling_factor: 1, topk_method: 'greedy' },
  },
  aliases: { num_experts: 'n_routed_experts' },
  says: { headDim: false },
  read(fields, sizes) {
    fields.only('mlp_bias', false);
    refuseOthers(fields, { scoring_func: 'softmax', norm_topk_prob: false, moe_layer_freq: 1 });
    const method = fields.oneOf('topk_method', ['greedy', 'group_limited_greedy']);
    const isGrouped = method === 'group_limited_greedy';
    return {
      norm: rmsNorm(fields),
      ...latentAttention(fields, sizes, 'neighbours'),
      biases: BIASES,
      experts: experts(fields, sizes.layers, false, {
        ...{ type: 'grouped', scores: 'softmax', best: 1, factor: fields.number('routed_scaling_factor') },
        groups: isGrouped ? fields.size('n_group') : 1,
        chosen: isGrouped ? fields.size('topk_group') : 1,
      }),
      names: { experts: NAMES },
    };
  },
};

/**
 * DeepSeek V3 and R1 (arXiv 2412.19437): latent attention, and experts chosen by sigmoid and a bias that no loss trains, of a few
 * groups.
 */
export const deepseekV3: DecoderFamily = {
  architecture: 'DeepseekV3ForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ num_key_value_heads: 128, hidden_act: 'silu', max_position_embeddings: 4096, rms_norm_eps: 1e-6 },
    ...{ bos_token_id: 0, eos_token_id: 1, intermediate_size: 18432, moe_intermediate_size: 2048 },
    ...{ n_routed_experts: 256, n_shared_experts: 1, num_experts_per_tok: 8, first_k_dense_replace: 3 },
    ...{ kv_lora_rank: 512, q_lora_rank: 1536, qk_nope_head_dim: 128, qk_rope_head_dim: 64, v_head_dim: 128 },
    ...{ routed_scaling_factor: 2.5, n_group: 8, topk_group: 4 },
  },
  aliases: { num_local_experts: 'n_routed_experts', num_mtp_layers: 'num_nextn_predict_layers' },
  says: { headDim: false },
  read(fields, sizes) {
    refuseOthers(fields, { scoring_func: 'sigmoid', topk_method: 'noaux_tc', moe_layer_freq: 1 });
    const isInterleaved = fields.boolean('rope_interleave', true);
    return {
      norm: rmsNorm(fields),
      ...latentAttention(fields, sizes, isInterleaved ? 'neighbours' : 'halves'),
      biases: BIASES,
      experts: experts(fields, sizes.layers, fields.boolean('norm_topk_prob', true), {
        ...{ type: 'grouped', scores: 'sigmoid', best: 2, factor: fields.number('routed_scaling_factor') },
        ...{ groups: fields.size('n_group'), chosen: fields.size('topk_group') },
      }),
      names: { experts: { ...NAMES, bias: 'gate.e_score_correction_bias' } },
    };
  },
};
