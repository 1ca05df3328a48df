import { number, options, type Read, text } from '@posttrain/interfaces';
import type { MergeMethod } from './merge-method.js';

const none = options('fisher', {});
const modelOptions = options('fisher', {
  /** wᵢ. Default 1. */
  weight: number({ default: 1, min: 0 }),
  /** Folder of the model's Fisher information (`model.safetensors` with the names and shapes of the weights). */
  fisher: text({}),
});

/** Below this nobody knows anything about a number, and the models have the same say. */
const FLOOR = 1e-10;

/**
 * Fisher merging (arXiv 2111.09832): θ = Σ wᵢFᵢθᵢ / Σ wᵢFᵢ, number by number, with the diagonal Fᵢ of the Fisher information of
 * each model; Fᵢ is at least 1e-10. `fisherDiagonal` of `@posttrain/training` measures it, `saveSafetensors` writes it.
 */
export const fisher: MergeMethod<object, Read<typeof modelOptions>> = {
  name: 'fisher',
  base: 'none',
  models: { min: 2 },
  options: none,
  modelOptions,
  merge:
    (tensor, _options, each) =>
    async ({ from, models }) => {
      const size = models[0]!.length;
      const [sum, divisor] = [new Float64Array(size), new Float64Array(size)];
      for (const [i, { weight }] of each.entries()) {
        const source = await tensor.about(i, 'fisher');
        const { data } = await source.read(tensor.name, { as: 'float32', range: [from, from + size] });
        for (let j = 0; j < size; j++) {
          const share = weight * Math.max(data[j]!, FLOOR);
          sum[j]! += share * models[i]![j]!;
          divisor[j]! += share;
        }
      }
      return sum.map((x, j) => x / divisor[j]!);
    },
};
