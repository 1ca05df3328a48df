import { type DecoderFamily, rmsNorm, rotary, windows } from '../decoder-family.js';
import { EXPERT_NAMES, readMixture } from '../experts-config.js';

/** What transformers takes where a file has no rope parameters. */
const YARN = {
  ...{ rope_type: 'yarn', factor: 32, beta_fast: 32, beta_slow: 1 },
  ...{ truncate: false, original_max_position_embeddings: 4096 },
};

/**
 * gpt-oss (arXiv 2508.10925): sinks in every softmax, windows in every second layer, experts with biases and a clamped SwiGLU, which
 * files have in one tensor a layer, in bfloat16 or MXFP4.
 */
export const gptOss: DecoderFamily = {
  architecture: 'GptOssForCausalLM',
  classifiers: ['sequence', 'token'],
  defaults: {
    ...{ num_key_value_heads: 8, head_dim: 64, hidden_act: 'silu', max_position_embeddings: 131072 },
    ...{ rms_norm_eps: 1e-5, sliding_window: 128, num_local_experts: 128, num_experts_per_tok: 4 },
    ...{ swiglu_alpha: 1.702, swiglu_limit: 7 },
  },
  aliases: { num_experts: 'num_local_experts' },
  read(fields, sizes) {
    const bias = fields.boolean('attention_bias', true);
    const says = fields.raw('rope_parameters') ?? fields.raw('rope_scaling');
    const roped = says === undefined ? fields.with({ rope_parameters: YARN }) : fields;
    const experts = readMixture(fields, sizes.layers, {
      count: ['num_local_experts'],
      intermediateSize: fields.size('intermediate_size'),
      normalizeWeights: true,
    });
    return {
      norm: rmsNorm(fields),
      rotary: rotary(roped, sizes, { theta: 150000 }),
      ...windows(fields, sizes, (layer) => layer % 2 === 0),
      biases: { qkv: bias, output: bias, mlp: false, head: false },
      experts: {
        ...experts,
        biases: true,
        clamped: { alpha: fields.number('swiglu_alpha'), limit: fields.positive('swiglu_limit') },
      },
      names: {
        sinks: 'self_attn.sinks',
        experts: {
          ...{ ...EXPERT_NAMES, router: 'router' },
          fused: {
            ...{ gateUp: 'experts.gate_up_proj', gateUpBias: 'experts.gate_up_proj_bias' },
            ...{ down: 'experts.down_proj', downBias: 'experts.down_proj_bias' },
            ...{ transposed: true, interleaved: true },
          },
        },
      },
    };
  },
};
