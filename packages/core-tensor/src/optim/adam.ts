import { assertKnownOptions } from '@posttrain/interfaces';
import { type AdamWOptions, type AdamWState, adamW } from './adamw.js';
import { decaysByDefault, mapNamed, type Optimizer } from './optimizer.js';

export interface AdamOptions extends Omit<AdamWOptions, 'weightDecay'> {
  /** L2 penalty: added to the gradient as weightDecay · θ, as in torch.optim.Adam. Default 0. */
  readonly weightDecay?: number;
}

/** Adam (arXiv 1412.6980): the update of `adamW` without decay, for the gradient g + λθ. */
export function adam(options: AdamOptions = {}): Optimizer<AdamWState> {
  assertKnownOptions('adam', options, ['beta1', 'beta2', 'epsilon', 'weightDecay', 'decays']);
  const { weightDecay = 0, decays = decaysByDefault, ...moments } = options;
  const inner = adamW(moments);
  return {
    ...inner,
    name: 'adam',
    update(parameters, gradients, state, learningRate) {
      const penalised = mapNamed(gradients, (g, name) => {
        const p = parameters[name]!;
        return weightDecay !== 0 && decays(name, p) ? g.add(p.mul(weightDecay)) : g;
      });
      return inner.update(parameters, penalised, state, learningRate);
    },
  };
}
