import { logSigmoid, type Tensor } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import type { PreferenceLoss } from './preference-loss.js';

const alphapoOptions = options('alphapoLoss', {
  /** What the rewards are multiplied by. Default 2. */
  beta: number({ default: 2, above: 0 }),
  /** By how much the reward of the chosen completion is to be higher; TRL's `simpo_gamma`. Default 0.5. */
  gamma: number({ default: 0.5 }),
  /** α, the shape of the reward; TRL's `alpha`. With 0 it is SimPO. Default 0.25. */
  alpha: number({ default: 0.25 }),
});
/** Options of `alphapoLoss`. */
export type AlphapoLossOptions = Given<typeof alphapoOptions>;

/**
 * AlphaPO (arXiv 2501.03884): SimPO with another shape of the reward, -log σ(β(r(y_w) - r(y_l)) - γ) with r(y) = (1 - p^(-α)) / α
 * and log p the mean log-probability of a token of y; r(y) = log p for α = 0. It has no reference.
 */
export function alphapoLoss(given: AlphapoLossOptions = {}): PreferenceLoss {
  const { beta, gamma, alpha } = alphapoOptions.read(given);
  const reward = (logProb: Tensor) => (alpha === 0 ? logProb : logProb.mul(-alpha).exp().neg().add(1).div(alpha));
  return {
    name: 'alphapo',
    settings: alphapoOptions.settings(given),
    beta,
    reference: false,
    logProbs: 'mean',
    compute({ chosen, rejected }) {
      const rewards = [reward(chosen).mul(beta), reward(rejected).mul(beta)] as const;
      const margins = rewards[0].sub(rewards[1]);
      return {
        losses: logSigmoid(margins.sub(gamma)).neg(),
        // The reward is not β log p here.
        metrics: { 'rewards/chosen': rewards[0], 'rewards/rejected': rewards[1], 'rewards/margins': margins },
      };
    },
  };
}
