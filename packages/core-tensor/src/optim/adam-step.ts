import { number } from '@posttrain/interfaces';
import type { Tensor } from '../tensor.js';

export const momentOptions = {
  /** Decay of the mean of the gradients. Default 0.9. */
  beta1: number({ default: 0.9, min: 0, below: 1 }),
  /** Decay of the mean of their squares. Default 0.999. */
  beta2: number({ default: 0.999, min: 0, below: 1 }),
  /** Default 1e-8. */
  epsilon: number({ default: 1e-8, min: 0 }),
};

export interface AdamMomentOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

/** The moments of one parameter: means of its gradient and of the gradient's square. */
export interface Moments {
  readonly mean: Tensor;
  readonly square: Tensor;
}

/**
 * What all of the Adam family does for one parameter at update `step`, counted from 1 (an int32 scalar):
 * m ← β₁m + (1-β₁)g, v ← β₂v + (1-β₂)g², change = η · (m / (1-β₁ᵗ)) / (√(v / (1-β₂ᵗ)) + ε).
 */
export function adamStep(
  { beta1, beta2, epsilon }: AdamMomentOptions,
  step: Tensor,
  learningRate: Tensor,
): (gradient: Tensor, moments: Moments) => Moments & { readonly change: Tensor } {
  const rate = learningRate.div(biasCorrection(step, beta1));
  const root = biasCorrection(step, beta2).sqrt();
  return (g, moments) => {
    const mean = moments.mean.mul(beta1).add(g.mul(1 - beta1));
    const square = moments.square.mul(beta2).add(g.square().mul(1 - beta2));
    return { mean, square, change: mean.div(square.sqrt().div(root).add(epsilon)).mul(rate) };
  };
}

/**
 * 1 - βᵗ for a tensor t, so that the graph is the same at every step. Written as -expm1(t log β) through
 * expm1(z) = 2 tanh(z/2) / (1 - tanh(z/2)), because 1 - βᵗ itself would lose four digits in float32 at the start.
 */
function biasCorrection(step: Tensor, beta: number): Tensor {
  const half = step
    .cast('float32')
    .mul(Math.log(beta) / 2)
    .tanh();
  return half.mul(-2).div(half.neg().add(1));
}
