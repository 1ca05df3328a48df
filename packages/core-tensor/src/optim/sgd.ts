import { assertKnownOptions } from '@posttrain/interfaces';
import { zerosBuffer } from '../create.js';
import type { Tensor } from '../tensor.js';
import { mapNamed, type Named, type Optimizer } from './optimizer.js';

export interface SgdOptions {
  /** Default 0: plain gradient descent. */
  readonly momentum?: number;
  /** Look ahead along the momentum. Default false. */
  readonly nesterov?: boolean;
  /** Added to the gradient as weightDecay · θ (coupled, as in torch.optim.SGD). Default 0. */
  readonly weightDecay?: number;
}

export interface SgdState {
  /** Accumulated direction per parameter; empty without momentum. */
  readonly velocity: Named;
}

/**
 * Stochastic gradient descent as torch.optim.SGD defines it: g ← g + λθ, b ← μb + g,
 * θ ← θ - η (g + μb if nesterov else b). The buffer starts at zero, which equals torch's first step b = g.
 */
export function sgd(options: SgdOptions = {}): Optimizer<SgdState> {
  assertKnownOptions('sgd', options, ['momentum', 'nesterov', 'weightDecay']);
  const { momentum = 0, nesterov = false, weightDecay = 0 } = options;
  return {
    name: 'sgd',
    init: (parameters) => ({ velocity: momentum === 0 ? {} : mapNamed(parameters, (p) => zerosBuffer(p.shape)) }),
    update(parameters, gradients, state, learningRate) {
      const velocity: Record<string, Tensor> = { ...state.velocity };
      const updated = mapNamed(parameters, (p, name) => {
        const raw = gradients[name];
        if (!raw) return p;
        const g = weightDecay === 0 ? raw : raw.add(p.mul(weightDecay));
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
