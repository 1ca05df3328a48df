import { type Given, options } from '@posttrain/interfaces';
import { zerosBuffer } from '../create.js';
import type { Tensor } from '../tensor.js';
import { adamStep, momentOptions } from './adam-step.js';
import { decayed, decayOptions, decaysByDefault, mapNamed, type Named, type Optimizer } from './optimizer.js';

/** The decay is decoupled: θ ← θ (1 - η·weightDecay) before the step. */
const adamWOptions = options('adamW', { ...momentOptions, ...decayOptions });
/** Options of `adamW` (arXiv 1711.05101). */
export type AdamWOptions = Given<typeof adamWOptions>;

/** The state of `adamW`. */
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
export function adamW(given: AdamWOptions = {}): Optimizer<AdamWState> {
  const { weightDecay, decays = decaysByDefault, ...moments } = adamWOptions.read(given);
  return {
    name: 'adamw',
    settings: adamWOptions.settings(given),
    isPerParameter: true,
    init: (parameters) => ({
      step: zerosBuffer([], 'int32'),
      mean: mapNamed(parameters, (p) => zerosBuffer(p.shape)),
      square: mapNamed(parameters, (p) => zerosBuffer(p.shape)),
    }),
    update(parameters, gradients, state, learningRate) {
      const step = state.step.add(1);
      const adam = adamStep(moments, step, learningRate);
      const [mean, square] = [{ ...state.mean }, { ...state.square }];
      const updated = mapNamed(parameters, (p, name) => {
        const g = gradients[name];
        if (!g) return p;
        const next = adam(g, { mean: mean[name]!, square: square[name]! });
        mean[name] = next.mean;
        square[name] = next.square;
        return decayed(p, learningRate, decays(name, p) ? weightDecay : 0).sub(next.change);
      });
      return { parameters: updated, state: { step, mean, square } };
    },
  };
}
