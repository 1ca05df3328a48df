import { options, type Read } from '@posttrain/interfaces';
import { among, largest } from './largest.js';
import type { MergeMethod } from './merge-method.js';
import { densityOption, magnitudes, mergeTaskVectors, taskVectorOptions, weightOption } from './task-vectors.js';

const tiesOptions = options('ties', taskVectorOptions(true));
const modelOptions = options('ties', { ...weightOption, ...densityOption });

/**
 * TIES (arXiv 2306.01708): trim each τᵢ = θᵢ − θ₀ to the ⌊density·n⌋ numbers of largest magnitude in each tensor, elect for every
 * number the sign of Σ wᵢτᵢ, and average those that have it: θ = θ₀ + λ·Σ wᵢτᵢ / Σ wᵢ over them.
 */
export const ties: MergeMethod<Read<typeof tiesOptions>, Read<typeof modelOptions>> = {
  name: 'ties',
  base: 'needed',
  models: { min: 1 },
  options: tiesOptions,
  modelOptions,
  async merge(tensor, { normalize, lambda }, each) {
    const kept: ((magnitude: number) => boolean)[] = [];
    for (const [i, { density }] of each.entries()) {
      kept.push(among(await largest(() => magnitudes(tensor, i), Math.floor(density * tensor.size))));
    }
    return mergeTaskVectors({
      weights: each.map(({ weight }) => weight),
      ...{ normalize, lambda, elect: true },
      sparsify: (difference, _from, model) => {
        for (let i = 0; i < difference.length; i++) if (!kept[model]!(Math.abs(difference[i]!))) difference[i] = 0;
      },
    });
  },
};
