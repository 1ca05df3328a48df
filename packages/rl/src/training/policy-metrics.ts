import { PosttrainError, showValue } from '@posttrain/interfaces';
import type { Metrics } from '@posttrain/training';
import { nanMean, nanStd } from '../advantage/advantage.js';
import { episodeEnds, groupsOf, type ScoredRollout, trainedTokens } from '../rollout.js';

/**
 * What TRL's GRPOTrainer logs of a batch of completions, under its names; a mean of nothing is left out. Lengths are in
 * sampled tokens: what an environment said is not counted.
 * Beside them `stop/REASON` (shares of episodes), and where there are some `rollouts/failed` and `rewards/NAME/failed` (shares), and
 * `rollouts/forks` (how many more there are than episodes).
 * `frac_reward_zero_std` is the fraction of completions whose group has rewards without any spread.
 */
export function rolloutMetrics(all: readonly ScoredRollout[]): Metrics {
  // An episode counts once, and one that failed not at all, but for how often that was.
  const ends = episodeEnds(all).map((i) => all[i]!);
  const there = ends.filter(({ failure }) => failure === undefined);
  const rollouts = there.length > 0 ? there : ends;
  const numbers = (values: readonly (number | null)[]) => values.map((value) => value ?? Number.NaN);
  const lengthOf = (rollout: ScoredRollout) => trainedTokens(rollout).reduce((a, b) => a + b, 0);
  const lengths = rollouts.map(lengthOf);
  const ended = rollouts.filter(({ finishReason }) => finishReason === 'stop').map(lengthOf);
  // TRL's value where no completion ended.
  const terminated = ended.length > 0 ? ended : [0];
  const rewards = numbers(rollouts.map(({ reward }) => reward));
  const flat = groupsOf(rollouts).filter((group) => nanStd(numbers(group.map(({ reward }) => reward))) < 1e-8);
  const metrics: Record<string, number> = {
    'completions/mean_length': nanMean(lengths),
    'completions/min_length': Math.min(...lengths),
    'completions/max_length': Math.max(...lengths),
    'completions/mean_terminated_length': nanMean(terminated),
    'completions/min_terminated_length': Math.min(...terminated),
    'completions/max_terminated_length': Math.max(...terminated),
    'completions/clipped_ratio': 1 - ended.length / rollouts.length,
    reward: nanMean(rewards),
    reward_std: nanStd(rewards),
    frac_reward_zero_std: flat.flat().length / rollouts.length,
  };
  for (const name of Object.keys(rollouts[0]!.rewards)) {
    const values = numbers(rollouts.map((rollout) => rollout.rewards[name]!));
    metrics[`rewards/${name}/mean`] = nanMean(values);
    metrics[`rewards/${name}/std`] = nanStd(values);
    const failed = rollouts.filter(({ rewardFailures }) => rewardFailures?.[name] !== undefined).length;
    if (failed > 0) metrics[`rewards/${name}/failed`] = failed / rollouts.length;
  }
  if (ends.some(({ stopReason }) => stopReason !== undefined)) {
    for (const { stopReason = 'completed' } of ends) {
      metrics[`stop/${stopReason}`] = (metrics[`stop/${stopReason}`] ?? 0) + 1 / ends.length;
    }
  }
  if (there.length < ends.length) metrics['rollouts/failed'] = (ends.length - there.length) / ends.length;
  if (ends.length < all.length) metrics['rollouts/forks'] = all.length - ends.length;
  return Object.fromEntries(Object.entries(metrics).filter(([, value]) => !Number.isNaN(value)));
}

/** What an annotator logs. @throws PosttrainError ANNOTATOR where one of it is no number */
export function checkMetrics(annotator: string, metrics: Metrics): Metrics {
  const wrong = Object.entries(metrics).find(([, value]) => typeof value !== 'number');
  if (!wrong) return metrics;
  throw new PosttrainError(
    'ANNOTATOR',
    `the annotator ${annotator} gave ${showValue(wrong[1])} for the metric ${wrong[0]}`,
  );
}

/** Means over several records of the metrics they have. */
export function meanMetrics(records: readonly Metrics[]): Metrics {
  const names = new Set(records.flatMap((record) => Object.keys(record)));
  return Object.fromEntries(
    [...names].map((name) => [name, nanMean(records.map((record) => record[name] ?? Number.NaN))]),
  );
}
