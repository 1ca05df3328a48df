import type { DecoderFamily } from '../decoder-family.js';
import { EXPERT_NAMES, readMixture } from '../experts-config.js';
import { granite } from './granite.js';

/** Granite 3 MoE (arXiv 2408.13359): Granite with experts in every layer, which its files have in one tensor. */
export const graniteMoe: DecoderFamily = {
  ...granite,
  architecture: 'GraniteMoeForCausalLM',
  defaults: { ...granite.defaults, num_local_experts: 8, num_experts_per_tok: 2 },
  read(fields, sizes) {
    const { biases, ...shape } = granite.read(fields, sizes);
    return {
      ...shape,
      biases: { ...biases!, mlp: false },
      experts: readMixture(fields, sizes.layers, {
        count: ['num_local_experts'],
        intermediateSize: fields.size('intermediate_size'),
        normalizeWeights: true,
      }),
      names: {
        experts: {
          ...EXPERT_NAMES,
          ...{ module: 'block_sparse_moe', router: 'router.layer' },
          fused: {
            ...{ gateUp: 'input_linear.weight', down: 'output_linear.weight' },
            ...{ transposed: false, interleaved: false },
          },
        },
      },
    };
  },
};
