import { boolean, options, type Read } from '@posttrain/interfaces';
import type { MergeMethod } from './merge-method.js';
import { densityOption, mergeTaskVectors, taskVectorOptions, weightOption } from './task-vectors.js';

const dareOptions = options('dare', {
  ...taskVectorOptions(false),
  /** Divide what stays by the density, so that the mean stays. Default true. */
  rescale: boolean({ default: true }),
});
const modelOptions = options('dare', { ...weightOption, ...densityOption });

/**
 * DARE (arXiv 2311.03099): every number of τᵢ = θᵢ − θ₀ stays with probability `density` and is divided by it; then as task
 * arithmetic (`dare_linear`), or with TIES's election of signs (`dare_ties`). What is drawn depends on the seed of the
 * merge, the tensor and the model.
 */
const dare = (name: string, elect: boolean): MergeMethod<Read<typeof dareOptions>, Read<typeof modelOptions>> => ({
  name,
  base: 'needed',
  models: { min: 1 },
  options: dareOptions,
  modelOptions,
  merge: (tensor, { normalize, lambda, rescale }, each) =>
    mergeTaskVectors({
      weights: each.map(({ weight }) => weight),
      ...{ normalize, lambda, elect },
      sparsify: (difference, from, model) => {
        const { density } = each[model]!;
        if (density === 1) return;
        const drawn = tensor.uniforms(model, from, difference.length);
        const scale = rescale && density > 0 ? 1 / density : 1;
        for (let i = 0; i < difference.length; i++) difference[i] = drawn[i]! < density ? difference[i]! * scale : 0;
      },
    }),
});

export const dareLinear = dare('dare_linear', false);
export const dareTies = dare('dare_ties', true);
