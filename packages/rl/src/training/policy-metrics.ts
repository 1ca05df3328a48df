import type { Metrics } from '@posttrain/training';
import { nanMean, nanStd } from '../advantage/advantage.js';
import type { RewardedGroup } from './rollouts.js';

/**
 * What TRL's GRPOTrainer logs of a batch of completions, under its names; a mean of nothing is left out.
 * `frac_reward_zero_std` is the fraction of completions whose group has rewards without any spread.
 */
export function rolloutMetrics(groups: readonly RewardedGroup[]): Metrics {
  const completions = groups.flatMap((group) => group.completions);
  const numbers = (values: readonly (number | null)[]) => values.map((value) => value ?? Number.NaN);
  const lengths = completions.map(({ tokens }) => tokens.length);
  const ended = completions.filter(({ finishReason }) => finishReason === 'stop').map(({ tokens }) => tokens.length);
  // TRL's value where no completion ended.
  const terminated = ended.length > 0 ? ended : [0];
  const rewards = numbers(completions.map(({ reward }) => reward));
  const flat = groups.filter((group) => nanStd(numbers(group.completions.map(({ reward }) => reward))) < 1e-8);
  const metrics: Record<string, number> = {
    'completions/mean_length': nanMean(lengths),
    'completions/min_length': Math.min(...lengths),
    'completions/max_length': Math.max(...lengths),
    'completions/mean_terminated_length': nanMean(terminated),
    'completions/min_terminated_length': Math.min(...terminated),
    'completions/max_terminated_length': Math.max(...terminated),
    'completions/clipped_ratio': 1 - ended.length / completions.length,
    reward: nanMean(rewards),
    reward_std: nanStd(rewards),
    frac_reward_zero_std: flat.reduce((sum, group) => sum + group.completions.length, 0) / completions.length,
  };
  for (const name of Object.keys(completions[0]!.rewards)) {
    const values = numbers(completions.map((completion) => completion.rewards[name]!));
    metrics[`rewards/${name}/mean`] = nanMean(values);
    metrics[`rewards/${name}/std`] = nanStd(values);
  }
  return Object.fromEntries(Object.entries(metrics).filter(([, value]) => !Number.isNaN(value)));
}

/** Means over several records of the metrics they have. */
export function meanMetrics(records: readonly Metrics[]): Metrics {
  const names = new Set(records.flatMap((record) => Object.keys(record)));
  return Object.fromEntries(
    [...names].map((name) => [name, nanMean(records.map((record) => record[name] ?? Number.NaN))]),
  );
}
