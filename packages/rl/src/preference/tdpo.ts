import { logSigmoid, stopGradient, type Tensor } from '@posttrain/core-tensor';
import { type Given, number, oneOf, options } from '@posttrain/interfaces';
import { divergence } from '@posttrain/training';
import { logRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const tdpoOptions = options('tdpoLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** TDPO1 or TDPO2; `if_tdpo2` of the authors' code. Default `tdpo2`. */
  variant: oneOf(['tdpo1', 'tdpo2'], { default: 'tdpo2' }),
  /** α of TDPO2: what the difference of the divergences counts; TDPO1 has none, and counts it as 1. Default 0.5. */
  alpha: number({ default: 0.5, min: 0 }),
});
/** Options of `tdpoLoss`. */
export type TdpoLossOptions = Given<typeof tdpoOptions>;

/**
 * Token-level DPO (arXiv 2404.11999): with u = β(h_w - h_l), h = log π(y) - log π_ref(y), and the sequential forward KL
 * D(y) = Σ_t KL(π_ref(·|y_<t) ‖ π(·|y_<t)) over the tokens of a completion, -log σ(u - β(D(y_l) - D(y_w))) (TDPO1), or
 * -log σ(u - α β(D(y_l) - sg D(y_w))) (TDPO2), where sg stops the gradient. The reference is run in the pass of the policy.
 * Logged beside the metrics of DPO: `kl/chosen` and `kl/rejected`, D in nats.
 */
export function tdpoLoss(given: TdpoLossOptions = {}): PreferenceLoss {
  const { beta, variant, alpha } = tdpoOptions.read(given);
  return {
    name: variant,
    settings: tdpoOptions.settings(given),
    beta,
    runsReference: true,
    compute(pairs) {
      const perToken = pairs.readAgainst((reference) => divergence({ teacher: reference, beta: 0 }));
      const summed = (values: Tensor, mask: Tensor) => values.mul(mask).sum(1);
      const chosen = summed(perToken.chosen, pairs.chosenTokens.mask);
      const rejected = summed(perToken.rejected, pairs.rejectedTokens.mask);
      const { margin } = logRatios(pairs);
      const apart = variant === 'tdpo1' ? rejected.sub(chosen) : rejected.sub(stopGradient(chosen)).mul(alpha);
      return {
        losses: logSigmoid(margin.sub(apart).mul(beta)).neg(),
        metrics: { 'kl/chosen': chosen, 'kl/rejected': rejected },
      };
    },
  };
}
