import {
  type DecoderFamily,
  type DecoderFields,
  type DecoderSizes,
  type Differences,
  rmsNorm,
  rotary,
} from '../decoder-family.js';
import { EXPERT_NAMES, readMixture, sparseBySteps } from '../experts-config.js';

/** Which layers have a recurrence: those that `layer_types` says, else all but every `full_attention_interval`th. */
function recurring(fields: DecoderFields, layers: number): boolean[] {
  const types = fields.raw('layer_types');
  if (types === undefined) {
    const interval = fields.size('full_attention_interval', 4);
    return Array.from({ length: layers }, (_, layer) => (layer + 1) % interval !== 0);
  }
  const valid = (type: unknown) => type === 'full_attention' || type === 'linear_attention';
  if (Array.isArray(types) && types.length === layers && types.every(valid)) {
    return types.map((type) => type === 'linear_attention');
  }
  return fields.fail('layer_types', `a list of ${layers} of full_attention and linear_attention`);
}

/** What Qwen3-Next and Qwen3.5 have in common: gated attention between gated delta networks. */
function common(fields: DecoderFields, sizes: DecoderSizes, joined: boolean): Differences {
  const norm = { ...rmsNorm(fields), plusOne: true };
  const bias = fields.boolean('attention_bias', false);
  const [keyHeads, valueHeads] = [fields.size('linear_num_key_heads'), fields.size('linear_num_value_heads')];
  if (valueHeads % keyHeads !== 0) {
    fields.fail('linear_num_value_heads', `a multiple of linear_num_key_heads (${keyHeads})`);
  }
  return {
    norm,
    rotary: rotary(fields, sizes, { partial: 0.25 }),
    queryKeyNorm: { norm, over: 'head' },
    biases: { qkv: bias, output: bias, mlp: false, head: false },
    gatesAttention: true,
    recurrence: {
      ...{
        kind: 'gated-delta',
        layers: recurring(fields, sizes.layers),
        beside: false,
        module: 'linear_attn',
        chunk: 64,
      },
      ...{ taps: fields.size('linear_conv_kernel_dim', undefined, 1000), keyHeads, valueHeads, joined },
      ...{ keyDim: fields.size('linear_key_head_dim'), valueDim: fields.size('linear_value_head_dim') },
      epsilon: fields.positive('rms_norm_eps'),
    },
  };
}

function mixture(fields: DecoderFields, sizes: DecoderSizes, given: { readonly bySteps: boolean }) {
  const experts = readMixture(fields, sizes.layers, {
    count: ['num_experts'],
    intermediateSize: fields.size('moe_intermediate_size'),
    normalizeWeights: given.bySteps ? fields.boolean('norm_topk_prob', true) : true,
    ...(given.bySteps && { sparse: sparseBySteps(fields) }),
  });
  return { ...experts, sharedSize: fields.size('shared_expert_intermediate_size') };
}

const SHARED_EXPERT = { ...EXPERT_NAMES, shared: 'shared_expert', sharedGate: 'shared_expert_gate' } as const;

const LINEAR = {
  ...{ linear_conv_kernel_dim: 4, linear_key_head_dim: 128, linear_value_head_dim: 128 },
  ...{ linear_num_key_heads: 16, linear_num_value_heads: 32, head_dim: 256, hidden_act: 'silu' },
  ...{ max_position_embeddings: 32768, rms_norm_eps: 1e-6 },
};

/** Qwen3-Next: three of four layers are gated delta networks (arXiv 2412.06464), with experts of which one is shared. */
export const qwen3Next: DecoderFamily = {
  architecture: 'Qwen3NextForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ ...LINEAR, num_key_value_heads: 2, intermediate_size: 5632, moe_intermediate_size: 512, num_experts: 512 },
    ...{ num_experts_per_tok: 10, shared_expert_intermediate_size: 512 },
  },
  read: (fields, sizes) => ({
    ...common(fields, sizes, true),
    experts: mixture(fields, sizes, { bySteps: true }),
    names: { experts: SHARED_EXPERT },
  }),
};

/** The text part of Qwen3.5: Qwen3-Next without experts, its projections apart. */
export const qwen35Text: DecoderFamily = {
  architecture: 'Qwen3_5ForCausalLM',
  classifiers: [],
  defaults: { ...LINEAR, num_key_value_heads: 4, intermediate_size: 12288 },
  read: (fields, sizes) => common(fields, sizes, false),
};

/** The same with experts in every layer. */
export const qwen35Moe: DecoderFamily = {
  architecture: 'Qwen3_5MoeForCausalLM',
  classifiers: [],
  defaults: {
    ...{ ...LINEAR, num_key_value_heads: 2, moe_intermediate_size: 512, num_experts: 256, num_experts_per_tok: 8 },
    ...{ shared_expert_intermediate_size: 512 },
  },
  read: (fields, sizes) => ({
    ...common(fields, sizes, false),
    intermediateSize: fields.size('moe_intermediate_size'),
    experts: mixture(fields, sizes, { bySteps: false }),
    names: { experts: SHARED_EXPERT },
  }),
};
