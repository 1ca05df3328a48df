import { logSigmoid, type Tensor } from '@posttrain/core-tensor';
import { type Given, number, oneOf, options } from '@posttrain/interfaces';
import { logRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const fdpoOptions = options('fdpoLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** What holds it: the divergence from the reference; TRL's `f_divergence_type`. Default `reverse_kl`, which is DPO. */
  fDivergenceType: oneOf(['reverse_kl', 'forward_kl', 'js_divergence', 'alpha_divergence'], { default: 'reverse_kl' }),
  /**
   * α of `alpha_divergence`; TRL's `f_alpha_divergence_coef`. It is 1 - α of the paper: at 1 it is the reverse KL, at 0 the
   * forward KL. Default 0.5.
   */
  fAlphaDivergenceCoef: number({ default: 0.5 }),
});
/** Options of `fdpoLoss`. */
export type FdpoLossOptions = Given<typeof fdpoOptions>;

/** Beyond it, e^h has no float32. */
const LARGEST_EXPONENT = 80;
const exp = (h: Tensor) => h.minimum(LARGEST_EXPONENT).exp();

/** f'(e^h) by the name of the divergence D_f(π ‖ π_ref) = E_ref f(π / π_ref); of KL up to a constant, which no pair sees. */
const slopes: Readonly<Record<'reverse_kl' | 'forward_kl' | 'js_divergence', (h: Tensor) => Tensor>> = {
  /** f(u) = u log u. */
  reverse_kl: (h) => h,
  /** f(u) = -log u. */
  forward_kl: (h) => exp(h.neg()).neg().add(1),
  /** f(u) = u log u - (u + 1) log((u + 1) / 2). */
  js_divergence: (h) => logSigmoid(h).add(Math.LN2),
};

/** f(u) = (u^α - α u + α - 1) / (α (α - 1)), whose f' is (u^(α - 1) - 1) / (α - 1). */
const alphaSlope =
  (alpha: number) =>
  (h: Tensor): Tensor =>
    Math.abs(alpha - 1) < 1e-6
      ? h
      : exp(h.mul(alpha - 1))
          .sub(1)
          .div(alpha - 1);

/**
 * f-DPO (arXiv 2309.16240): DPO with another divergence than the reverse KL between policy and reference,
 * -log σ(β [f'(π(y_w) / π_ref(y_w)) - f'(π(y_l) / π_ref(y_l))]), with log-probabilities summed over tokens. `rewards/*` are
 * β log(π / π_ref) for every divergence, as TRL logs them.
 */
export function fdpoLoss(given: FdpoLossOptions = {}): PreferenceLoss {
  const { beta, fDivergenceType, fAlphaDivergenceCoef } = fdpoOptions.read(given);
  const slope = fDivergenceType === 'alpha_divergence' ? alphaSlope(fAlphaDivergenceCoef) : slopes[fDivergenceType];
  return {
    name: `f-dpo(${fDivergenceType})`,
    settings: fdpoOptions.settings(given),
    beta,
    compute(pairs) {
      const { chosen, rejected } = logRatios(pairs);
      return logSigmoid(slope(chosen).sub(slope(rejected)).mul(beta)).neg();
    },
  };
}
