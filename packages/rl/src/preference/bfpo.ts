import { type Given, number, options } from '@posttrain/interfaces';
import { logRatios } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

const bfpoOptions = options('bfpoLoss', {
  /** τ of the paper: log-ratios of a pair are to differ by a target / β. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** b₁: how much more the safety of the chosen completion counts than that of the other; b₃ is 1 / (b₁ - 1). Default 3. */
  b1: number({ default: 3, above: 1 }),
  /** α: what is taken off every target. Default 0.5. */
  alpha: number({ default: 0.5 }),
});
/** Options of `bfpoLoss`. */
export type BfpoLossOptions = Given<typeof bfpoOptions>;

/**
 * Bi-Factorial Preference Optimization (arXiv 2408.15313), for pairs that are ordered by helpfulness and say which of both is safe:
 * (h_w - h_l - (b₁ b₃ s_w - b₃ s_l - α) / β)² with h = log π(y) - log π_ref(y), summed over tokens, and s the columns `is_chosen_safe` and
 * `is_rejected_safe`. By default the targets are ½, 1, -1 and -½ over β for (safe, safe), (safe, unsafe), (unsafe, safe) and (unsafe, unsafe): of
 * two safe ones it is IPO.
 */
export function bfpoLoss(given: BfpoLossOptions = {}): PreferenceLoss {
  const { beta, b1, alpha } = bfpoOptions.read(given);
  const b3 = 1 / (b1 - 1);
  return {
    name: 'bfpo',
    settings: bfpoOptions.settings(given),
    beta,
    columns: ['is_chosen_safe', 'is_rejected_safe'],
    compute(pairs) {
      const { is_chosen_safe: chosen, is_rejected_safe: rejected } = pairs.columns;
      const target = chosen!
        .mul(b1 * b3)
        .sub(rejected!.mul(b3))
        .sub(alpha);
      return logRatios(pairs).margin.sub(target.div(beta)).square();
    },
  };
}
