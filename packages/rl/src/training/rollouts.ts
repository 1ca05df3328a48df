import type { PromptRow, Rewards } from '../rewards/reward.js';
import { type ScoreOptions, scoreCompletions } from '../rewards/score-completions.js';
import { checkRollouts, RolloutError } from '../rollout/check-rollouts.js';
import { withPolicyVersion } from '../rollout/policy-version.js';
import type { RolloutRequest, RolloutSource } from '../rollout/rollout-source.js';
import { episodeEnds, type SampledRollout, type ScoredRollout } from '../rollout.js';

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
  // What was scored before, in a step that is replayed, has the rewards of then; what failed has none; an episode is scored once.
  const places = episodeEnds(rollouts).filter((i) => rollouts[i]!.rewards === undefined && !rollouts[i]!.failure);
  const scores = await scoreCompletions(
    rewards,
    places.map((i) => {
      const { text, row, completionTokens, finishReason, group, messages, episode, ...rest } = rollouts[i]!;
      const parts = episode === undefined ? [rollouts[i]!] : rollouts.filter((one) => isOf(one, group, episode));
      const turnRewards = rest.turnRewards && parts.flatMap((part) => part.turnRewards ?? []);
      return {
        ...{ text, prompt: row.prompt, row, completionTokens, finishReason, step, group },
        ...(messages && { messages }),
        ...(rest.episodeReward !== undefined && { episodeReward: rest.episodeReward }),
        ...(turnRewards && { turnRewards }),
      };
    }),
    { ...scoring, ...(signal && { signal }) },
  );
  const names = Object.keys(scores.byFunction);
  return rollouts.map((rollout, i) => {
    if (rollout.rewards !== undefined) return { ...rollout, rewards: rollout.rewards, reward: rollout.reward ?? null };
    const { group, episode } = rollout;
    const at = places.findIndex((end) => end === i || (episode !== undefined && isOf(rollouts[end]!, group, episode)));
    const own = names.map((name) => [name, at < 0 ? null : scores.byFunction[name]![at]!] as const);
    const failures = scores.failures[at];
    return {
      ...rollout,
      rewards: Object.fromEntries(own),
      reward: at < 0 ? null : atMost(scores.rewards[at]!, rollout.rewardAtMost),
      ...(failures && { rewardFailures: failures }),
    };
  });
}

const isOf = (rollout: SampledRollout, group: number, episode: string): boolean =>
  rollout.group === group && rollout.episode === episode;

const atMost = (reward: number | null, most = Number.POSITIVE_INFINITY): number | null =>
  reward === null ? null : Math.min(reward, most);

/** What `sampleAndScore` is told: where rollouts come from, of what, and what they are scored with. */
export interface ScoredRolloutRequest<Row extends PromptRow> extends RolloutRequest<Row>, RolloutScoring<Row> {
  readonly source: RolloutSource<Row>;
}

/** Samples rollouts of every row and scores them. @throws RolloutError, RewardError; the reason of the signal when that fires */
export async function sampleAndScore<Row extends PromptRow>(
  request: ScoredRolloutRequest<Row>,
): Promise<ScoredRollout<Row>[]> {
  return checkAndScore(request, await request.source.sample(request));
}

/**
 * `sampleAndScore` for a run that goes on learning meanwhile: resolves when the policy is needed here no more.
 *
 * @throws what `sampleAhead` throws, and the result what `sampleAndScore` does
 */
export async function sampleAndScoreAhead<Row extends PromptRow>(
  request: ScoredRolloutRequest<Row>,
): Promise<() => Promise<ScoredRollout<Row>[]>> {
  const sampled = await request.source.sampleAhead!(request);
  return async () => checkAndScore(request, await sampled());
}

async function checkAndScore<Row extends PromptRow>(
  request: ScoredRolloutRequest<Row>,
  given: readonly SampledRollout[],
): Promise<ScoredRollout<Row>[]> {
  const { name, gives = [] } = request.source;
  const sampled = checkRollouts(`the source of rollouts ${name}`, given, gives);
  if (sampled.length === 0)
    throw new RolloutError(`the source of rollouts ${name}`, `none of ${request.rows.length} rows`);
  const versioned = withPolicyVersion(sampled, request.source, request);
  return scoreRollouts(versioned as readonly SampledRollout<Row>[], request);
}
