import { boolean, number, options, type Read } from '@posttrain/interfaces';
import { MergeError } from '../adapters/errors.js';
import { type MergeMethod, weightedSum } from './merge-method.js';

const linearOptions = options('linear', {
  /** Divide by Σ wᵢ. Default true. */
  normalize: boolean({ default: true }),
});
const modelOptions = options('linear', {
  /** wᵢ. Default 1. */
  weight: number({ default: 1 }),
});

/** Linear merging, or a model soup (arXiv 2203.05482): θ = Σ wᵢ θᵢ / Σ wᵢ. */
export const linear: MergeMethod<Read<typeof linearOptions>, Read<typeof modelOptions>> = {
  name: 'linear',
  base: 'none',
  models: { min: 1 },
  options: linearOptions,
  modelOptions,
  merge({ name }, { normalize }, each) {
    const weights = each.map(({ weight }) => weight);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    if (normalize && total === 0) {
      throw new MergeError(`linear: the weights of ${name} add up to 0: set normalize to false, or other weights`);
    }
    const shares = weights.map((weight) => (normalize ? weight / total : weight));
    return ({ models }) => weightedSum(models, shares);
  },
};
