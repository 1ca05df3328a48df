import type { Tensor } from '@posttrain/core-tensor';

/**
 * Estimators of KL(π ‖ π_ref) from tokens drawn from π (Schulman, "Approximating KL divergence", 2020), with
 * u = log π_ref - log π of the drawn token.
 */
export const klEstimators = {
  /** -u: unbiased, can be negative. As a loss its gradient is ∇ log π, which says nothing about π_ref: use it in the reward. */
  k1: (u: Tensor): Tensor => u.neg(),
  /** u² / 2: biased, never negative; its gradient is that of the KL. */
  k2: (u: Tensor): Tensor => u.square().mul(0.5),
  /** e^u - u - 1: unbiased and never negative (GRPO). */
  k3: (u: Tensor): Tensor => u.exp().sub(u).sub(1),
} as const;

/** The name of an estimator of the KL divergence. */
export type KlEstimator = keyof typeof klEstimators;
