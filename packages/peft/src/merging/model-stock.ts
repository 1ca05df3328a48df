import { boolean, options, type Read } from '@posttrain/interfaces';
import { innerProducts, type MergeMethod } from './merge-method.js';

const modelStockOptions = options('model_stock', {
  /** An angle for every row of a matrix instead of one for the tensor. Default false. */
  filter_wise: boolean({ default: false }),
});
const none = options('model_stock', {});

/**
 * Model stock (arXiv 2403.19522): θ = t·θ̄ + (1−t)·θ₀ with t = k·cos Ω / (1 + (k−1)·cos Ω) for the mean θ̄ of k models and the mean
 * cosine cos Ω between their differences to the base θ₀.
 */
export const modelStock: MergeMethod<Read<typeof modelStockOptions>, object> = {
  name: 'model_stock',
  base: 'needed',
  models: { min: 2 },
  options: modelStockOptions,
  modelOptions: none,
  async merge(tensor, { filter_wise }) {
    const row = tensor.shape.at(-1) ?? 1;
    if (!filter_wise || tensor.shape.length < 2) {
      const t = ratioOf(await innerProducts(tensor, 'differences'));
      return ({ base, models }) => base.map((start, i) => start + t * (meanOf(models, i) - start));
    }
    return ({ base, models }) => {
      const merged = new Float64Array(base.length);
      for (let from = 0; from < base.length; from += row) {
        const differences = models.map((model) =>
          Float64Array.from({ length: row }, (_, i) => model[from + i]! - base[from + i]!),
        );
        const products = differences.map((x) => differences.map((y) => x.reduce((sum, a, i) => sum + a * y[i]!, 0)));
        const t = ratioOf(products);
        for (let i = from; i < from + row; i++) merged[i] = base[i]! + t * (meanOf(models, i) - base[i]!);
      }
      return merged;
    };
  },
};

const meanOf = (models: readonly Float32Array[], i: number): number =>
  models.reduce((sum, model) => sum + model[i]!, 0) / models.length;

/** t of the inner products of k differences. */
function ratioOf(products: readonly (readonly number[])[]): number {
  const k = products.length;
  let sum = 0;
  for (let i = 0; i < k; i++) {
    for (let j = i + 1; j < k; j++) {
      const lengths = Math.sqrt(products[i]![i]! * products[j]![j]!);
      sum += Math.min(1, Math.max(-1, products[i]![j]! / Math.max(lengths, 1e-12)));
    }
  }
  const cosine = sum / ((k * (k - 1)) / 2);
  return (k * cosine) / (1 + (k - 1) * cosine);
}
