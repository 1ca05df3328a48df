import { type Given, number, oneOf, options } from '@posttrain/interfaces';
import { trainedTokens } from '../rollout.js';
import { klInReward } from './kl-in-reward.js';
import type { Regulariser } from './regulariser.js';

export const adaptiveKlShape = {
  /** β of the first step. Default 0.2. */
  initKlCoef: number({ default: 0.2, above: 0 }),
  /** The KL of a completion, in nats, that β is moved to hold. Default 6. */
  target: number({ default: 6, above: 0 }),
  /** Completions in which β changes by no more than a fifth. Default 10,000. */
  horizon: number({ default: 10_000, above: 0 }),
  /** As of `klInReward`. Default `k1`. */
  estimator: oneOf(['k1', 'k3'], { default: 'k1' }),
};
const adaptiveKlOptions = options('adaptiveKl', adaptiveKlShape);
/** Options of `adaptiveKl`. */
export type AdaptiveKlOptions = Given<typeof adaptiveKlOptions>;

/** The most that one step may think it is off by. */
const LARGEST_ERROR = 0.2;

/**
 * The adaptive KL controller (Ziegler et al., arXiv 1909.08593, § 2.2; TRL's and verl's `AdaptiveKLController`): `klInReward` whose β follows the
 * policy. After a step of n completions with mean KL d, β ← β (1 + clip(d / target - 1, -0.2, 0.2) · n / horizon). β is in the run's checkpoints; one
 * controller is for one run. Metrics: `kl_coef`, β of the step, and `kl_sequence`, d.
 *
 * @throws OptionError
 */
export function adaptiveKl(given: AdaptiveKlOptions = {}): Regulariser {
  const { initKlCoef, target, horizon, estimator } = adaptiveKlOptions.read(given);
  let beta = initKlCoef;
  const unit = klInReward({ beta: 1, estimator });
  return {
    ...unit,
    name: `adaptive-kl(${estimator})`,
    settings: adaptiveKlOptions.settings(given),
    rewardPenalty: (old, reference) => beta * unit.rewardPenalty!(old, reference),
    learn(rollouts) {
      const seen = rollouts.filter((rollout) => trainedTokens(rollout).includes(1));
      if (seen.length === 0) return {};
      const used = beta;
      const divergences = seen.map((rollout) => {
        const mask = trainedTokens(rollout);
        const trained = (values: ArrayLike<number>) => Array.from(values).filter((_, t) => mask[t]);
        return unit.rewardPenalty!(trained(rollout.oldLogProbs), trained(rollout.referenceLogProbs!));
      });
      const kl = divergences.reduce((a, b) => a + b, 0) / seen.length;
      const error = Math.min(LARGEST_ERROR, Math.max(-LARGEST_ERROR, kl / target - 1));
      beta *= 1 + (error * seen.length) / horizon;
      return { kl_coef: used, kl_sequence: kl };
    },
    state: () => ({ beta }),
    load(state) {
      beta = (state as { readonly beta: number }).beta;
    },
  };
}
