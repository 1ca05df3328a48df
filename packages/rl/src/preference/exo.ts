import { logSigmoid } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { logRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const exoOptions = options('exoLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** ε, the share of labels that are taken to be wrong. Default 0.001. */
  labelSmoothing: number({ default: 0.001, above: 0, below: 0.5 }),
});
/** Options of `exoLoss`. */
export type ExoLossOptions = Given<typeof exoOptions>;

/**
 * Efficient Exact Optimization for pairs (arXiv 2402.00856, eq. 16): the reverse KL(p ‖ q) of p = (σ(βΔ), σ(-βΔ)) and q =
 * (1 - ε, ε) over the two completions, with Δ = h_w - h_l and h = log π(y) - log π_ref(y). It is 0 where βΔ = log((1 - ε)
 * / ε).
 */
export function exoLoss(given: ExoLossOptions = {}): PreferenceLoss {
  const { beta, labelSmoothing } = exoOptions.read(given);
  return {
    name: 'exo_pair',
    settings: exoOptions.settings(given),
    beta,
    compute(pairs) {
      const x = logRatios(pairs).margin.mul(beta);
      const won = x.sigmoid().mul(logSigmoid(x).sub(Math.log1p(-labelSmoothing)));
      return won.add(
        x
          .neg()
          .sigmoid()
          .mul(logSigmoid(x.neg()).sub(Math.log(labelSmoothing))),
      );
    },
  };
}
