import { type Given, integer, number, options } from '@posttrain/interfaces';

export const nStepShape = {
  /** γ: what a reward one step later is worth. Default 1. */
  gamma: number({ default: 1, min: 0, max: 1 }),
  /** n (A3C: t_max): how many rewards are summed before a value stands for the rest. Default 5, as in A3C. */
  nSteps: integer({ default: 5, min: 1 }),
};
const nStepOptions = options('nStepReturns', nStepShape);
/** Options of `nStepReturns` and `segmentReturns`. */
export type NStepOptions = Given<typeof nStepOptions>;

/** Σ_{k<m} γ^k r_{t+k} + γ^m V(s_{t+m}), with m steps ahead of each t. */
function bootstrapped(
  rewards: readonly number[],
  values: readonly number[],
  gamma: number,
  last: number,
  endOf: (t: number) => number,
): number[] {
  return rewards.map((_, t) => {
    const end = Math.min(rewards.length, endOf(t));
    let total = end === rewards.length ? last : values[end]!;
    for (let k = end - 1; k >= t; k--) total = rewards[k]! + gamma * total;
    return total;
  });
}

/**
 * The n-step returns of an episode (Watkins, 1989): G_t = Σ_{k<n} γ^k r_{t+k} + γ^n V(s_{t+n}), with fewer steps before the end.
 *
 * @param rewards r_t of each step
 * @param values V(s_t) before each step
 * @param last V of the state behind the last step: 0 where the episode is over, and not only cut off
 * @throws OptionError
 */
export function nStepReturns(
  rewards: readonly number[],
  values: readonly number[],
  given: NStepOptions = {},
  last = 0,
): number[] {
  const { gamma, nSteps } = nStepOptions.read(given);
  return bootstrapped(rewards, values, gamma, last, (t) => t + nSteps);
}

/**
 * The returns of A3C (arXiv 1602.01783, algorithm S3): an episode in segments of `nSteps` steps, and every step looks to the end of its
 * segment, the first `nSteps` ahead, the last one. Parameters as of `nStepReturns`.
 *
 * @throws OptionError
 */
export function segmentReturns(
  rewards: readonly number[],
  values: readonly number[],
  given: NStepOptions = {},
  last = 0,
): number[] {
  const { gamma, nSteps } = nStepOptions.read(given);
  return bootstrapped(rewards, values, gamma, last, (t) => (Math.floor(t / nSteps) + 1) * nSteps);
}
