import type { Tensor } from '../tensor.js';
import { mapNamed, type Named } from './optimizer.js';

/** √ Σ g² over all gradients: a float32 scalar. */
export function globalNorm(gradients: Named): Tensor {
  const squares = Object.values(gradients).map((g) => g.square().sum());
  return squares.reduce((a, b) => a.add(b)).sqrt();
}

/**
 * Scales all gradients by min(1, maxNorm / (norm + 1e-6)), as torch's clip_grad_norm_ does, and gives the norm
 * before clipping.
 */
export function clipByGlobalNorm(
  gradients: Named,
  maxNorm: number,
): { gradients: Record<string, Tensor>; norm: Tensor } {
  const norm = globalNorm(gradients);
  const factor = norm.add(1e-6).reciprocal().mul(maxNorm).minimum(1);
  return { gradients: mapNamed(gradients, (g) => g.mul(factor)), norm };
}
