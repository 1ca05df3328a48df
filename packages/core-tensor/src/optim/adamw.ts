import { assertKnownOptions } from '@posttrain/interfaces';
import { zerosBuffer } from '../create.js';
import type { Tensor } from '../tensor.js';
import { mapNamed, type Named, type Optimizer } from './optimizer.js';

export interface AdamWOptions {
  /** Decay of the mean of the gradients. Default 0.9. */
  readonly beta1?: number;
  /** Decay of the mean of their squares. Default 0.999. */
  readonly beta2?: number;
  /** Default 1e-8. */
  readonly epsilon?: number;
  /** Decoupled decay: θ ← θ (1 - η·weightDecay) before the step. Default 0, as in Hugging Face's trainers. */
  readonly weightDecay?: number;
  /** Which parameters decay, by name. Default: all with two or more axes (not biases, not norms). */
  readonly decays?: (name: string, parameter: Tensor) => boolean;
}

export interface AdamWState {
  /** Number of updates made, int32 scalar. */
  readonly step: Tensor;
  readonly mean: Named;
  readonly square: Named;
}

/**
 * AdamW (arXiv 1711.05101): m ← β₁m + (1-β₁)g, v ← β₂v + (1-β₂)g²,
 * θ ← θ(1 - ηλ) - η · (m / (1-β₁ᵗ)) / (√(v / (1-β₂ᵗ)) + ε), with t counted from 1.
 */
export function adamW(options: AdamWOptions = {}): Optimizer<AdamWState> {
  assertKnownOptions('adamW', options, ['beta1', 'beta2', 'epsilon', 'weightDecay', 'decays']);
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 } = options;
  const decays = options.decays ?? ((_, parameter) => parameter.rank >= 2);
  return {
    name: 'adamw',
    init: (parameters) => ({
      step: zerosBuffer([], 'int32'),
      mean: mapNamed(parameters, (p) => zerosBuffer(p.shape)),
      square: mapNamed(parameters, (p) => zerosBuffer(p.shape)),
    }),
    update(parameters, gradients, state, learningRate) {
      const step = state.step.add(1);
      const correction1 = biasCorrection(step, beta1);
      const correction2 = biasCorrection(step, beta2).sqrt();
      const mean: Record<string, Tensor> = {};
      const square: Record<string, Tensor> = {};
      const updated = mapNamed(parameters, (p, name) => {
        const g = gradients[name];
        const [m, v] = [state.mean[name]!, state.square[name]!];
        mean[name] = g ? m.mul(beta1).add(g.mul(1 - beta1)) : m;
        square[name] = g ? v.mul(beta2).add(g.square().mul(1 - beta2)) : v;
        if (!g) return p;
        const decayed = weightDecay !== 0 && decays(name, p) ? p.mul(learningRate.mul(-weightDecay).add(1)) : p;
        const denominator = square[name].sqrt().div(correction2).add(epsilon);
        return decayed.sub(mean[name].div(denominator).mul(learningRate.div(correction1)));
      });
      return { parameters: updated, state: { step, mean, square } };
    },
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
