import { custom, type Given, options, settingsOf } from '@posttrain/interfaces';
import { prime, primeShape } from '../advantage/prime.js';
import type { ImplicitRewardModel } from '../critic/implicit-reward-model.js';
import { klInLoss } from '../regulariser/kl-in-loss.js';
import { regulariserShape, regularisersOf } from '../regulariser/regularisers-of.js';
import { clip, clipShape } from '../surrogate/clip.js';
import type { PolicyObjectiveParts } from './policy-objective.js';
import { tokenMean, tokenRatio } from './simple-parts.js';

const primeObjectiveOptions = options('prime', {
  ...primeShape,
  ...clipShape,
  ...regulariserShape,
  /** What rewards tokens, and learns beside the policy: `await implicitRewardModel(model)`. */
  rewardModel: custom<ImplicitRewardModel>()(
    'an implicit reward model, such as await implicitRewardModel(model)',
    (value) => typeof (value as Partial<ImplicitRewardModel> | null | undefined)?.annotate === 'function',
    { settings: ({ settings }) => settingsOf(settings ?? {}) },
  ),
});
/** Options of `policyObjectives.prime`. */
export type PrimeObjectiveOptions = Given<typeof primeObjectiveOptions>;

/** PRIME (arXiv 2502.01456): leave-one-out of rewards of tokens, by an implicit reward model that learns online, and of outcomes. */
export const primeObjective = (given: PrimeObjectiveOptions): PolicyObjectiveParts => {
  const { rewardModel, dpoCoef, gtCoef, beta, entropyCoef, ...clipping } = primeObjectiveOptions.read(given);
  return {
    name: 'prime',
    advantage: prime({ dpoCoef, gtCoef }),
    annotators: [rewardModel],
    ratio: tokenRatio(),
    surrogate: clip(clipping),
    aggregation: tokenMean(),
    regularisers: regularisersOf({ beta, entropyCoef }, klInLoss),
  };
};
