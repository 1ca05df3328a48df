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
      // β^t as e^(t log β), with t a tensor, so that the graph is the same at every step.
      const power = (beta: number) => step.cast('float32').mul(Math.log(beta)).exp();
      const correction1 = power(beta1).neg().add(1);
      const correction2 = power(beta2).neg().add(1).sqrt();
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
