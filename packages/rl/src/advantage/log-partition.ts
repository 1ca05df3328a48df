import { type Given, number, options } from '@posttrain/interfaces';
import { type Advantage, byGroup } from './advantage.js';

const logPartitionOptions = options('logPartition', {
  /** τ: what rewards are divided by in the exponent. */
  tau: number({ above: 0 }),
});
/** Options of `logPartition`. */
export type LogPartitionOptions = Given<typeof logPartitionOptions>;

/**
 * The advantage of Kimi k1.5's mirror descent (arXiv 2501.12599, eq. 3): A_i = r_i - τ log Z with Z = mean of e^(r/τ) over the completions of the prompt.
 * With `squaredLogRatio({ tau, level: 'sequence' })` a policy at π_old e^(r/τ) / Z stands still, every completion by itself. The paper then takes the
 * mean reward for τ log Z, its limit for a large τ: `groupNormalized({ scaleRewards: 'none' })`.
 *
 * @throws OptionError
 */
export function logPartition(given: LogPartitionOptions): Advantage {
  const { tau } = logPartitionOptions.read(given);
  return {
    name: 'log-partition',
    settings: logPartitionOptions.settings(given),
    needsGroup: true,
    compute: (rollouts) =>
      byGroup(rollouts, (groups) =>
        groups.map((group) => {
          const there = group.filter((reward) => !Number.isNaN(reward));
          const most = Math.max(...there);
          const sum = there.reduce((total, reward) => total + Math.exp((reward - most) / tau), 0);
          const baseline = most + tau * Math.log(sum / there.length);
          return group.map((reward) => reward - baseline);
        }),
      ),
  };
}
