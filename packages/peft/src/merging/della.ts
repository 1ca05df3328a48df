import { boolean, number, options, type Read } from '@posttrain/interfaces';
import { MergeError } from '../adapters/errors.js';
import type { MergeMethod } from './merge-method.js';
import { densityOption, mergeTaskVectors, taskVectorOptions, weightOption } from './task-vectors.js';

const dellaOptions = (normalize: boolean) =>
  options('della', {
    ...taskVectorOptions(normalize),
    /** Divide what stays by its probability, so that the mean stays. Default true. */
    rescale: boolean({ default: true }),
  });
const modelOptions = options('della', {
  ...weightOption,
  ...densityOption,
  /** Probabilities go from density − ε to density + ε. Default 0.1; nothing is dropped at density 1. */
  epsilon: number({ default: 0.1, min: 0 }),
});

/**
 * DELLA (arXiv 2406.11617), by magnitude: within a row of n numbers of τᵢ = θᵢ − θ₀, the r-th smallest (from 0) stays with
 * probability p = density − ε + 2ε·r/(n−1) and is divided by p; then TIES's election of signs and their mean (`della`), or
 * task arithmetic (`della_linear`).
 */
const dellaWith = (
  name: string,
  elect: boolean,
): MergeMethod<Read<ReturnType<typeof dellaOptions>>, Read<typeof modelOptions>> => ({
  name,
  base: 'needed',
  models: { min: 1 },
  options: dellaOptions(elect),
  modelOptions,
  merge(tensor, { normalize, lambda, rescale }, each) {
    for (const { density, epsilon } of each) {
      if (density === 1 || (density - epsilon > 0 && density + epsilon <= 1)) continue;
      throw new MergeError(
        `${name}: probabilities from density − epsilon to density + epsilon must be above 0 and at most 1, and density ${density}, epsilon ${epsilon} are not`,
      );
    }
    const row = tensor.shape.at(-1) ?? 1;
    return mergeTaskVectors({
      weights: each.map(({ weight }) => weight),
      ...{ normalize, lambda, elect },
      sparsify: (difference, from, model) => {
        const { density, epsilon } = each[model]!;
        if (density === 1) return;
        const drawn = tensor.uniforms(model, from, difference.length);
        for (let start = 0; start < difference.length; start += row) {
          const order = Uint32Array.from({ length: row }, (_, i) => start + i);
          order.sort((i, j) => Math.abs(difference[i]!) - Math.abs(difference[j]!) || i - j);
          order.forEach((i, rank) => {
            const p = row === 1 ? density : density - epsilon + (2 * epsilon * rank) / (row - 1);
            difference[i] = drawn[i]! < p ? difference[i]! / (rescale ? p : 1) : 0;
          });
        }
      },
    });
  },
});

export const della = dellaWith('della', true);
export const dellaLinear = dellaWith('della_linear', false);
