import { number, options, type Read } from '@posttrain/interfaces';
import { among, largest } from './largest.js';
import type { MergeMethod } from './merge-method.js';
import { densityOption, magnitudes, mergeTaskVectors, taskVectorOptions, weightOption } from './task-vectors.js';

const breadcrumbsOptions = options('breadcrumbs', taskVectorOptions(false));
const modelOptions = options('breadcrumbs', {
  ...weightOption,
  ...densityOption,
  /** Fraction of the numbers that are dropped for being the largest. Default 0.01. */
  gamma: number({ default: 0.01, min: 0, max: 1 }),
});

/**
 * Model breadcrumbs (arXiv 2312.06795): of τᵢ = θᵢ − θ₀ in each tensor of n numbers, the ⌊γ·n⌋ of largest magnitude and the
 * smallest are dropped, so that density·n stay (as far as there are so many); then task arithmetic (`breadcrumbs`), or TIES's
 * election of signs (`breadcrumbs_ties`).
 */
const breadcrumbsWith = (
  name: string,
  elect: boolean,
): MergeMethod<Read<typeof breadcrumbsOptions>, Read<typeof modelOptions>> => ({
  name,
  base: 'needed',
  models: { min: 1 },
  options: breadcrumbsOptions,
  modelOptions,
  async merge(tensor, { normalize, lambda }, each) {
    const rules: { dropped: (x: number) => boolean; kept: (x: number) => boolean }[] = [];
    for (const [i, { density, gamma }] of each.entries()) {
      const kept = Math.floor(density * tensor.size);
      const top = Math.min(Math.floor(gamma * tensor.size), tensor.size - kept);
      const of = async (k: number) => among(await largest(() => magnitudes(tensor, i), k));
      rules.push({ dropped: await of(top), kept: await of(top + kept) });
    }
    return mergeTaskVectors({
      weights: each.map(({ weight }) => weight),
      ...{ normalize, lambda, elect },
      sparsify: (difference, _from, model) => {
        const { dropped, kept } = rules[model]!;
        for (let i = 0; i < difference.length; i++) {
          const magnitude = Math.abs(difference[i]!);
          // Both count, whatever the other says.
          const [isTop, stays] = [dropped(magnitude), kept(magnitude)];
          if (isTop || !stays) difference[i] = 0;
        }
      },
    });
  },
});

export const breadcrumbs = breadcrumbsWith('breadcrumbs', false);
export const breadcrumbsTies = breadcrumbsWith('breadcrumbs_ties', true);
