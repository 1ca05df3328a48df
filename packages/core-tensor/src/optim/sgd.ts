import { boolean, type Given, number, options } from '@posttrain/interfaces';
import { zerosBuffer } from '../create.js';
import type { Tensor } from '../tensor.js';
import { decayOptions, mapNamed, type Named, type Optimizer } from './optimizer.js';

/** The decay is coupled: added to the gradient as weightDecay · θ. Without `decays` it is of all parameters, as in torch. */
const sgdOptions = options('sgd', {
  /** Default 0: plain gradient descent. */
  momentum: number({ default: 0, min: 0 }),
  /** Look ahead along the momentum. Default false. */
  nesterov: boolean({ default: false }),
  ...decayOptions,
});
/** Options of `sgd`. */
export type SgdOptions = Given<typeof sgdOptions>;

/** The state of `sgd`. */
export interface SgdState {
  /** Accumulated direction per parameter; empty without momentum. */
  readonly velocity: Named;
}

/**
 * Stochastic gradient descent as torch.optim.SGD defines it: g ← g + λθ, b ← μb + g,
 * θ ← θ - η (g + μb if nesterov else b). The buffer starts at zero, which equals torch's first step b = g.
 */
export function sgd(given: SgdOptions = {}): Optimizer<SgdState> {
  const { momentum, nesterov, weightDecay, decays = () => true } = sgdOptions.read(given);
  return {
    name: 'sgd',
    settings: sgdOptions.settings(given),
    isPerParameter: true,
    init: (parameters) => ({ velocity: momentum === 0 ? {} : mapNamed(parameters, (p) => zerosBuffer(p.shape)) }),
    update(parameters, gradients, state, learningRate) {
      const velocity: Record<string, Tensor> = { ...state.velocity };
      const updated = mapNamed(parameters, (p, name) => {
        const raw = gradients[name];
        if (!raw) return p;
        const g = weightDecay === 0 || !decays(name, p) ? raw : raw.add(p.mul(weightDecay));
        const previous = state.velocity[name];
        if (!previous) return p.sub(g.mul(learningRate));
        const next = previous.mul(momentum).add(g);
        velocity[name] = next;
        return p.sub((nesterov ? g.add(next.mul(momentum)) : next).mul(learningRate));
      });
      return { parameters: updated, state: { velocity } };
    },
  };
}
