import { custom, type Given, integer, number, options } from '@posttrain/interfaces';
import type { Trajectory } from '../rollout/play.js';
import { dynamicsOption } from './dicl-sac.js';
import { SeriesError } from './series-error.js';

const evaluationOptions = options('hybridPolicyEvaluation', {
  dynamics: dynamicsOption,
  /** Steps that are predicted: k. 0: none. */
  steps: integer({ min: 0 }),
  /** γ. Default 0.99. */
  gamma: number({ default: 0.99, min: 0, max: 1 }),
  /** What a predicted state and action are worth. Default: the reward is one more feature, and predicted like the others. */
  reward: custom<(observation: readonly number[], action: readonly number[]) => number>()(
    'a function of a state and an action',
    (value) => typeof value === 'function',
    { optional: true },
  ),
});
/** Options of `hybridPolicyEvaluation`. */
export type HybridPolicyEvaluationOptions = Given<typeof evaluationOptions>;

/** What a policy is worth, by what it did and by what it would do. */
export interface HybridPolicyValue {
  /** The mean over the trajectories of `real` + `predicted`. */
  readonly value: number;
  /** Σ_{t<T} γ^t r_t of each trajectory. */
  readonly real: readonly number[];
  /** Σ_{T≤t<T+k} γ^t r̂_t of each trajectory. */
  readonly predicted: readonly number[];
}

/**
 * Hybrid policy evaluation (arXiv 2410.11711, §4.1): a policy has acted for T steps, and a model of series goes on with its states and actions for k more,
 * which nobody has to act: V = Σ_{t<T} γ^t r_t + Σ_{T≤t<T+k} γ^t r̂_t. With k = 0 it is the return of what was seen.
 *
 * @param trajectories what the policy did, as `play` gives it; each is a context of its own
 * @throws OptionError; SeriesError where there is no trajectory or one of fewer than two steps; what the dynamics throw
 */
export async function hybridPolicyEvaluation(
  trajectories: readonly Trajectory[],
  given: HybridPolicyEvaluationOptions,
): Promise<HybridPolicyValue> {
  const { dynamics, steps, gamma, reward } = evaluationOptions.read(given);
  if (trajectories.length === 0) throw new SeriesError('hybridPolicyEvaluation', 'there is no trajectory');
  const real = trajectories.map(({ rewards }) => rewards.reduce((sum, r, t) => sum + gamma ** t * r, 0));
  const predicted: number[] = [];
  for (const { observations, actions, rewards } of trajectories) {
    const states = observations[0]?.length ?? 0;
    const rows = actions.map((action, t) => [
      ...Array.from(observations[t]!),
      ...(typeof action === 'number' ? [action] : Array.from(action)),
      ...(reward ? [] : [rewards[t]!]),
    ]);
    const ahead = steps === 0 ? [] : await dynamics.forecast(rows, { steps });
    const worth = (row: readonly number[]) => (reward ? reward(row.slice(0, states), row.slice(states)) : row.at(-1)!);
    predicted.push(ahead.reduce((sum, row, i) => sum + gamma ** (rows.length + i) * worth(row), 0));
  }
  const value = real.reduce((sum, r, i) => sum + (r + predicted[i]!) / real.length, 0);
  return { value, real, predicted };
}
