import { type Given, options } from '@posttrain/interfaces';
import { momentOptions } from './adam-step.js';
import { type AdamWState, adamW } from './adamw.js';
import { decayOptions, decaysByDefault, mapNamed, type Optimizer } from './optimizer.js';

/** The decay is an L2 penalty: added to the gradient as weightDecay · θ, as in torch.optim.Adam. */
const adamOptions = options('adam', { ...momentOptions, ...decayOptions });
/** Options of `adam` (arXiv 1412.6980). */
export type AdamOptions = Given<typeof adamOptions>;

/** Adam (arXiv 1412.6980): the update of `adamW` without decay, for the gradient g + λθ. */
export function adam(given: AdamOptions = {}): Optimizer<AdamWState> {
  const { weightDecay, decays = decaysByDefault, ...moments } = adamOptions.read(given);
  const inner = adamW(moments);
  return {
    ...inner,
    name: 'adam',
    settings: adamOptions.settings(given),
    isPerParameter: true,
    update(parameters, gradients, state, learningRate) {
      const penalised = mapNamed(gradients, (g, name) => {
        const p = parameters[name]!;
        return weightDecay !== 0 && decays(name, p) ? g.add(p.mul(weightDecay)) : g;
      });
      return inner.update(parameters, penalised, state, learningRate);
    },
  };
}
