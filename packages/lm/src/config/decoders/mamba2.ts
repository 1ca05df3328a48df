import { type DecoderFamily, FACTORS, rmsNorm } from '../decoder-family.js';
import { chunkSize, timeLimits, timeLimitsToJson } from '../recurrence-config.js';

/** Mamba 2 (arXiv 2405.21060): blocks of a selective state space and nothing else. Its context has no end; what is written here is for planning. */
export const mamba2: DecoderFamily = {
  architecture: 'Mamba2ForCausalLM',
  classifiers: [],
  defaults: {
    ...{ num_heads: 128, head_dim: 64, vocab_size: 32768, hidden_size: 4096, state_size: 128, num_hidden_layers: 64 },
    ...{ layer_norm_epsilon: 1e-5, pad_token_id: 1, bos_token_id: 0, eos_token_id: 2, expand: 2, conv_kernel: 4 },
    ...{ n_groups: 8, use_bias: false, use_conv_bias: true, hidden_act: 'silu', initializer_range: 0.1 },
    ...{ time_step_min: 0.001, time_step_max: 0.1, time_step_floor: 1e-4, max_position_embeddings: 2 ** 20 },
  },
  keys: { num_attention_heads: 'num_heads' },
  says: { keyValueHeads: false },
  read(fields, sizes) {
    const { numAttentionHeads: heads, headDim, hiddenSize } = sizes;
    const inner = hiddenSize * fields.positive('expand');
    if (inner !== heads * headDim) fields.fail('expand', `such that hidden_size · expand is num_heads · head_dim`);
    const groups = fields.size('n_groups');
    if (heads % groups !== 0) fields.fail('n_groups', `a divisor of num_heads (${heads})`);
    const bias = fields.boolean('use_bias', false);
    const limits = timeLimits(fields);
    // transformers divides weights that it reads.
    fields.only('rescale_prenorm_residual', false);
    return {
      norm: rmsNorm(fields, 'layer_norm_epsilon'),
      intermediateSize: inner,
      hasMlp: false,
      factors: { ...FACTORS, scores: 1 },
      recurrence: {
        ...{ kind: 'mamba2', layers: Array.from({ length: sizes.layers }, () => true), beside: false, module: 'mixer' },
        ...{ taps: fields.size('conv_kernel', undefined, 1000), heads, headDim, groups },
        ...{ stateSize: fields.size('state_size'), chunk: chunkSize(fields, 'chunk_size') },
        biases: { input: bias, output: bias, convolution: fields.boolean('use_conv_bias', true) },
        timeLimits: limits,
        newTimes: {
          ...{ low: fields.positive('time_step_min'), high: fields.positive('time_step_max') },
          floor: fields.number('time_step_floor'),
        },
        norm: { epsilon: fields.positive('layer_norm_epsilon'), beforeGate: false },
        factors: { input: 1, parts: [1, 1, 1, 1, 1], output: 1 },
      },
      written: {
        ...{ max_position_embeddings: undefined, time_step_limit: timeLimitsToJson(limits) },
      },
      names: {
        ...{ embedding: 'backbone.embeddings', blocks: 'backbone.layers', finalNorm: 'backbone.norm_f' },
        ...{ beforeAttention: 'norm', beforeMlp: undefined },
      },
    };
  },
};
