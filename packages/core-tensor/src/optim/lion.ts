import { type Given, number, options } from '@posttrain/interfaces';
import { zerosBuffer } from '../create.js';
import { decayed, decayOptions, decaysByDefault, mapNamed, type Named, type Optimizer } from './optimizer.js';

/** The decay is decoupled: θ ← θ (1 - η·weightDecay) before the step. */
const lionOptions = options('lion', {
  /** Weight of the old mean in the direction, above 0. Default 0.9. */
  beta1: number({ default: 0.9, above: 0, below: 1 }),
  /** Decay of the mean. Default 0.99. */
  beta2: number({ default: 0.99, min: 0, below: 1 }),
  ...decayOptions,
});
/** Options of `lion` (arXiv 2302.06675). */
export type LionOptions = Given<typeof lionOptions>;

/** The state of `lion`. */
export interface LionState {
  readonly mean: Named;
}

/**
 * Lion (arXiv 2302.06675): θ ← θ(1 - ηλ) - η · sign(β₁m + (1-β₁)g), m ← β₂m + (1-β₂)g. Wants a rate three to ten
 * times lower than AdamW's, and a decay as many times higher.
 */
export function lion(given: LionOptions = {}): Optimizer<LionState> {
  const { beta1, beta2, weightDecay, decays = decaysByDefault } = lionOptions.read(given);
  return {
    name: 'lion',
    settings: lionOptions.settings(given),
    isPerParameter: true,
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
