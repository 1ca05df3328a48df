import { logSigmoid } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { logRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const discopopOptions = options('discopopLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** τ, how sharply it goes over from the logistic to the exponential loss; TRL's `discopop_tau`. Default 0.05. */
  tau: number({ default: 0.05, above: 0 }),
});
/** Options of `discopopLoss`. */
export type DiscopopLossOptions = Given<typeof discopopOptions>;

/**
 * DiscoPOP, the log-ratio modulated loss that a language model found (arXiv 2406.08414, eq. 5): with x = β(h_w - h_l), h =
 * log π(y) - log π_ref(y) and m = σ(x/τ) it is -(1 - m) log σ(x) + m e^(-x). It is not convex: between about 0 and τ it
 * rises.
 */
export function discopopLoss(given: DiscopopLossOptions = {}): PreferenceLoss {
  const { beta, tau } = discopopOptions.read(given);
  return {
    name: 'discopop',
    settings: discopopOptions.settings(given),
    beta,
    compute(pairs) {
      const x = logRatios(pairs).margin.mul(beta);
      const exponential = x.div(tau).sigmoid();
      return logSigmoid(x).mul(exponential.sub(1)).add(x.neg().exp().mul(exponential));
    },
  };
}
