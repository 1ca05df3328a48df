import { type DecoderFamily, type DecoderFields, FACTORS, rmsNorm, rotary } from '../decoder-family.js';
import { chunkSize, timeLimits, timeLimitsToJson } from '../recurrence-config.js';

/** So many numbers of a list, all 1 where the file does not say. */
function multipliers(fields: DecoderFields, name: string, count: number): number[] {
  const given = fields.raw(name) ?? Array.from({ length: count }, () => 1);
  const isNumber = (value: unknown) => typeof value === 'number' && Number.isFinite(value);
  if (Array.isArray(given) && given.length === count && given.every(isNumber)) return given as number[];
  return fields.fail(name, `a list of ${count} numbers`);
}

/** Falcon-H1 (arXiv 2507.22448): attention and a selective state space beside each other in every block, and factors for everything. */
export const falconH1: DecoderFamily = {
  architecture: 'FalconH1ForCausalLM',
  classifiers: [],
  defaults: {
    ...{ num_key_value_heads: 8, hidden_act: 'silu', max_position_embeddings: 8192, rms_norm_eps: 1e-5 },
    ...{ pad_token_id: 0, bos_token_id: 1, eos_token_id: 2, mamba_d_ssm: 1024, mamba_n_heads: 128 },
    ...{ mamba_d_head: 'auto', mamba_n_groups: 1, mamba_d_state: 256, mamba_d_conv: 4, mamba_expand: 2 },
    ...{ mamba_conv_bias: true, mamba_proj_bias: false, mamba_norm_before_gate: true, mamba_rms_norm: false },
  },
  says: { headDim: false },
  read(fields, sizes) {
    const heads = fields.size('mamba_n_heads');
    const inner = fields.optionalSize('mamba_d_ssm') ?? sizes.hiddenSize * fields.size('mamba_expand');
    const headDim = fields.raw('mamba_d_head') === 'auto' ? Math.floor(inner / heads) : fields.size('mamba_d_head');
    if (heads * headDim !== inner) fields.fail('mamba_n_heads', `such that mamba_n_heads · mamba_d_head is ${inner}`);
    const groups = fields.size('mamba_n_groups');
    if (heads % groups !== 0) fields.fail('mamba_n_groups', `a divisor of mamba_n_heads (${heads})`);
    const [gate, mlp] = multipliers(fields, 'mlp_multipliers', 2) as [number, number];
    const one = (name: string) => fields.number(name, 1);
    const attends = fields.boolean('attention_bias', false);
    const isNormed = fields.boolean('mamba_rms_norm', false);
    const beforeGate = fields.boolean('mamba_norm_before_gate', true);
    const limits = timeLimits(fields);
    return {
      norm: rmsNorm(fields),
      rotary: rotary(fields, sizes),
      biases: { qkv: attends, output: attends, mlp: fields.boolean('mlp_bias', false), head: false },
      factors: {
        ...{ ...FACTORS, scores: 1 / Math.sqrt(sizes.headDim) },
        ...{ embedding: one('embedding_multiplier'), logits: one('lm_head_multiplier') },
        attention: {
          ...{ input: one('attention_in_multiplier'), keys: one('key_multiplier') },
          output: one('attention_out_multiplier'),
        },
        mlp: { gate, output: mlp },
      },
      recurrence: {
        ...{ kind: 'mamba2', layers: Array.from({ length: sizes.layers }, () => true), beside: true, module: 'mamba' },
        ...{ taps: fields.size('mamba_d_conv', undefined, 1000), heads, headDim, groups },
        ...{ stateSize: fields.size('mamba_d_state'), chunk: chunkSize(fields, 'mamba_chunk_size') },
        biases: {
          input: fields.boolean('mamba_proj_bias', false),
          output: fields.boolean('projectors_bias', false),
          convolution: fields.boolean('mamba_conv_bias', true),
        },
        timeLimits: limits,
        ...(isNormed && { norm: { epsilon: fields.positive('rms_norm_eps'), beforeGate } }),
        factors: {
          ...{ input: one('ssm_in_multiplier'), parts: multipliers(fields, 'ssm_multipliers', 5) },
          output: one('ssm_out_multiplier'),
        },
      },
      written: { time_step_limit: timeLimitsToJson(limits) },
      names: {
        ...{ gate: 'feed_forward.gate_proj', up: 'feed_forward.up_proj', down: 'feed_forward.down_proj' },
        ...{ beforeMlp: 'pre_ff_layernorm', finalNorm: 'model.final_layernorm' },
      },
    };
  },
};
