import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import { zerosBuffer } from '../create.js';
import { decayed, decaysByDefault, mapNamed, type Named, type Optimizer, type ParameterFilter } from './optimizer.js';

export interface LionOptions {
  /** Weight of the old mean in the direction, above 0. Default 0.9. */
  readonly beta1?: number;
  /** Decay of the mean. Default 0.99. */
  readonly beta2?: number;
  /** Decoupled decay: θ ← θ (1 - η·weightDecay) before the step. Default 0. */
  readonly weightDecay?: number;
  /** Which parameters decay, by name. Default: all with two or more axes (not biases, not norms). */
  readonly decays?: ParameterFilter;
}

export interface LionState {
  readonly mean: Named;
}

/**
 * Lion (arXiv 2302.06675): θ ← θ(1 - ηλ) - η · sign(β₁m + (1-β₁)g), m ← β₂m + (1-β₂)g. Wants a rate three to ten
 * times lower than AdamW's, and a decay as many times higher.
 */
export function lion(options: LionOptions = {}): Optimizer<LionState> {
  assertKnownOptions('lion', options, ['beta1', 'beta2', 'weightDecay', 'decays']);
  const { beta1 = 0.9, beta2 = 0.99, weightDecay = 0, decays = decaysByDefault } = options;
  if (!(beta1 > 0)) throw new PosttrainError('LION', `beta1 ${beta1}: must be above 0`);
  return {
    name: 'lion',
    init: (parameters) => ({ mean: mapNamed(parameters, (p) => zerosBuffer(p.shape)) }),
    update(parameters, gradients, state, learningRate) {
      const mean = { ...state.mean };
      const updated = mapNamed(parameters, (p, name) => {
        const g = gradients[name];
        if (!g) return p;
        const m = mean[name]!;
        const mixed = m.mul(beta1).add(g.mul(1 - beta1));
        // β₂m + (1-β₂)g by way of the direction, so that one node alone reads m, which can then be written over.
        const ratio = beta2 / beta1;
        mean[name] = mixed.mul(ratio).add(g.mul(1 - beta2 - ratio * (1 - beta1)));
        return decayed(p, learningRate, decays(name, p) ? weightDecay : 0).sub(mixed.sign().mul(learningRate));
      });
      return { parameters: updated, state: { mean } };
    },
  };
}
