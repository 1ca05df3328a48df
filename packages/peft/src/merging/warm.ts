import { options } from '@posttrain/interfaces';
import { type MergeMethod, weightedSum } from './merge-method.js';

const none = options('warm', {});

/**
 * WARM (arXiv 2401.12187): the reward model of averaged weights, θ = 1/M · Σ θᵢ over M reward models that were fine-tuned from
 * one start, with different seeds, data orders and rates. The head is averaged with the rest.
 */
export const warm: MergeMethod<object, object> = {
  name: 'warm',
  base: 'none',
  models: { min: 2 },
  options: none,
  modelOptions: none,
  merge: (_tensor, _options, each) => {
    const shares = each.map(() => 1 / each.length);
    return ({ models }) => weightedSum(models, shares);
  },
};
