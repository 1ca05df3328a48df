import type { PromptRow, Rewards } from '../rewards/reward.js';
import { type ScoreOptions, scoreCompletions } from '../rewards/score-completions.js';
import type { RolloutRequest, RolloutSource } from '../rollout/rollout-source.js';
import type { SampledRollout, ScoredRollout } from '../rollout.js';

/** What rollouts are scored with. */
export interface RolloutScoring<Row extends PromptRow> {
  readonly rewards: Rewards<Row>;
  readonly scoring: ScoreOptions;
  /** For the reward functions. */
  readonly step: number;
  readonly signal?: AbortSignal | undefined;
}

/** The rollouts with their rewards. @throws RewardError; the reason of the signal when that fires */
export async function scoreRollouts<Row extends PromptRow>(
  rollouts: readonly SampledRollout<Row>[],
  { rewards, scoring, step, signal }: RolloutScoring<Row>,
): Promise<ScoredRollout<Row>[]> {
  const scores = await scoreCompletions(
    rewards,
    rollouts.map(({ text, row, completionTokens, finishReason, group, messages, ...rest }) => ({
      ...{ text, prompt: row.prompt, row, completionTokens, finishReason, step, group },
      ...(messages && { messages }),
      ...(rest.episodeReward !== undefined && { episodeReward: rest.episodeReward }),
      ...(rest.turnRewards && { turnRewards: rest.turnRewards }),
    })),
    { ...scoring, ...(signal && { signal }) },
  );
  return rollouts.map((rollout, i) => ({
    ...rollout,
    rewards: Object.fromEntries(Object.entries(scores.byFunction).map(([name, values]) => [name, values[i]!])),
    reward: scores.rewards[i]!,
  }));
}

/** What `rollOut` is told: where rollouts come from, of what, and what they are scored with. */
export interface ScoredRolloutRequest<Row extends PromptRow> extends RolloutRequest<Row>, RolloutScoring<Row> {
  readonly source: RolloutSource<Row>;
}

/** Samples rollouts of every row and scores them. @throws RewardError; the reason of the signal when that fires */
export async function rollOut<Row extends PromptRow>(
  request: ScoredRolloutRequest<Row>,
): Promise<ScoredRollout<Row>[]> {
  const sampled = await request.source.sample(request);
  return scoreRollouts(sampled as readonly SampledRollout<Row>[], request);
}

/** Whether the rollouts of a group differ in reward, so that there is something to learn from it. */
export function hasSpread(group: readonly Pick<ScoredRollout, 'reward'>[]): boolean {
  return new Set(group.flatMap(({ reward }) => reward ?? [])).size > 1;
}
