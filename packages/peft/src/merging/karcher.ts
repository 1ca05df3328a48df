import { integer, number, options, type Read } from '@posttrain/interfaces';
import { innerProducts, type MergeMethod, weightedSum } from './merge-method.js';

const karcherOptions = options('karcher', {
  /** Most steps. Default 10. */
  max_iter: integer({ default: 10, min: 1 }),
  /** Length of a step that ends the search. Default 1e-5. */
  tol: number({ default: 1e-5, min: 0 }),
});
const modelOptions = options('karcher', {
  /** wᵢ, divided by Σ wᵢ. Default 1. */
  weight: number({ default: 1, above: 0 }),
});

const NEARLY_ZERO = 1e-12;

/**
 * The Karcher (Riemannian) mean on the sphere (arXiv 2603.04972): with uᵢ = θᵢ/‖θᵢ‖, steps u ← cos‖v‖·u + sin‖v‖·v/‖v‖ along
 * v = Σ wᵢ·Ωᵢ/sin Ωᵢ·(uᵢ − cos Ωᵢ·u), Ωᵢ the angle between u and uᵢ, from the normalised Σ wᵢuᵢ; then θ = Σ wᵢ‖θᵢ‖ · u.
 * The mean of two is their slerp in the middle. u stays a combination of the uᵢ, so that their inner products are all it takes.
 */
export const karcher: MergeMethod<Read<typeof karcherOptions>, Read<typeof modelOptions>> = {
  name: 'karcher',
  base: 'none',
  models: { min: 1 },
  options: karcherOptions,
  modelOptions,
  async merge(tensor, { max_iter, tol }, each) {
    const total = each.reduce((sum, { weight }) => sum + weight, 0);
    const weights = each.map(({ weight }) => weight / total);
    const products = await innerProducts(tensor, 'models');
    const lengths = products.map((row, i) => Math.sqrt(row[i]!));
    // A tensor of zeros has no direction.
    const units = lengths.map((length) => (length > NEARLY_ZERO ? 1 / length : 0));
    const cosines = products.map((row, i) => row.map((product, j) => product * units[i]! * units[j]!));
    const dot = (x: readonly number[], y: readonly number[]) =>
      x.reduce((sum, a, i) => sum + a * y.reduce((inner, b, j) => inner + b * cosines[i]![j]!, 0), 0);
    const scaled = (x: readonly number[], factor: number) => x.map((a) => a * factor);
    const start = Math.sqrt(Math.max(dot(weights, weights), 0));
    let u = scaled(weights, start > NEARLY_ZERO ? 1 / start : 0);
    for (let iteration = 0; iteration < max_iter; iteration++) {
      const v = u.map(() => 0);
      u.forEach((_, i) => {
        const unit = u.map((_, j) => (j === i ? 1 : 0));
        const cosine = Math.min(1, Math.max(-1, dot(u, unit)));
        const angle = Math.acos(cosine);
        const factor = angle < 1e-8 ? weights[i]! : (weights[i]! * angle) / Math.sin(angle);
        u.forEach((own, j) => {
          v[j]! += factor * (unit[j]! - cosine * own);
        });
      });
      const step = Math.sqrt(Math.max(dot(v, v), 0));
      if (step <= tol) break;
      u = u.map((own, j) => Math.cos(step) * own + (Math.sin(step) / step) * v[j]!);
    }
    const length = weights.reduce((sum, weight, i) => sum + weight * lengths[i]!, 0);
    const coefficients = u.map((own, i) => own * units[i]! * length);
    return ({ models }) => weightedSum(models, coefficients);
  },
};
