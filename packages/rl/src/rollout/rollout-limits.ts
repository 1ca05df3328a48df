import { integer, oneOf } from '@posttrain/interfaces';
import { LONGEST_TIMER_MS } from '@posttrain/interfaces/concurrency';

/** Limits that can end an episode, in the order in which they are looked at before a reply is sampled. */
export const LIMIT_STOPS = [
  'rollout_timeout',
  'max_turns',
  'max_trajectory_tokens',
  'max_sampled_tokens',
  'length',
  'max_turn_tokens',
  'max_tool_calls',
] as const;

/** A limit that ended an episode. `length`: `maxCompletionLength` or the context. */
export type LimitStop = (typeof LIMIT_STOPS)[number];

/**
 * Why an episode ended: the environment was done, a limit, replies that could not be read, a sampler that was stopped, or a failure (of
 * the environment, a tool, the chat template), whose rollout is neither trained nor counted.
 */
export type StopReason = LimitStop | 'completed' | 'parse_error' | 'aborted' | 'failed';

export const isLimitStop = (reason: StopReason | undefined): reason is LimitStop =>
  LIMIT_STOPS.includes(reason as LimitStop);

const timer = { min: 1, max: LONGEST_TIMER_MS, decisive: false } as const;

/** Declared options of what one episode may take. */
export const limitsShape = {
  /** Most replies of an episode. Default 8. */
  maxTurns: integer({ default: 8, min: 1 }),
  /** Most tokens of one reply; a longer one is cut off and ends the episode. Default: what the other limits leave. */
  maxTurnTokens: integer({ optional: true, min: 1 }),
  /** Most tokens that an episode samples; what the environment says does not count. Default: no limit of its own. */
  maxSampledTokens: integer({ optional: true, min: 1 }),
  /** Most tokens of a conversation, the prompt and what the environment says among them. Default: no limit of its own. */
  maxTrajectoryTokens: integer({ optional: true, min: 1 }),
  /** Most calls of tools. Of a reply with more, those that are left are answered, and the episode ends. Default: no limit. */
  maxToolCalls: integer({ optional: true, min: 0 }),
  /** Milliseconds of an episode, looked at between replies and while the environment is asked. Default: no limit. */
  rolloutTimeoutMs: integer({ optional: true, ...timer }),
  /** Milliseconds for the replies of one turn, of all episodes together; longer, and all of them have failed. Default: no limit. */
  samplingTimeoutMs: integer({ optional: true, ...timer }),
  /** Milliseconds for one answer of the environment (start, step, reward, close); longer, and it has failed. Default 60 000. */
  environmentTimeoutMs: integer({ default: 60_000, ...timer }),
  /**
   * What an episode is worth that a limit ended: what it is (`keep`), at most 0 (`zero`: it is graded, and a reward above 0 becomes 0), or
   * nothing to learn from, though it counts in its group's mean (`mask`). Default `keep`.
   */
  onLimit: oneOf(['keep', 'zero', 'mask'], { default: 'keep' }),
};

/** The limits of an episode. */
export interface RolloutLimits {
  readonly maxTurns: number;
  readonly maxTurnTokens?: number | undefined;
  readonly maxSampledTokens?: number | undefined;
  readonly maxTrajectoryTokens?: number | undefined;
  readonly maxToolCalls?: number | undefined;
  readonly rolloutTimeoutMs?: number | undefined;
}

/** What an episode has taken so far. */
export interface Spent {
  /** Replies. */
  readonly turns: number;
  /** Tokens of replies. */
  readonly sampled: number;
  /** Tokens that the next reply reads: the whole conversation. */
  readonly trajectory: number;
  /** Tokens that `maxCompletionLength` and the context leave. */
  readonly room: number;
  readonly elapsedMs: number;
}

/**
 * What ends an episode before its next reply is sampled; undefined where it goes on. The first of these that holds: its time is over,
 * it has had its replies, and of `maxTrajectoryTokens`, of `maxSampledTokens`, of the room, not one token is left.
 */
export function stopBeforeReply(limits: RolloutLimits, spent: Spent): LimitStop | undefined {
  const { maxTurns, maxTrajectoryTokens: trajectory, maxSampledTokens: sampled, rolloutTimeoutMs } = limits;
  if (rolloutTimeoutMs !== undefined && spent.elapsedMs >= rolloutTimeoutMs) return 'rollout_timeout';
  if (spent.turns >= maxTurns) return 'max_turns';
  if (trajectory !== undefined && spent.trajectory >= trajectory) return 'max_trajectory_tokens';
  if (sampled !== undefined && spent.sampled >= sampled) return 'max_sampled_tokens';
  return spent.room < 1 ? 'length' : undefined;
}

/** Most tokens of the next reply: the least that any limit leaves. */
export const tokensForReply = (limits: RolloutLimits, { trajectory, sampled, room }: Spent): number =>
  Math.min(
    room,
    limits.maxTurnTokens ?? Number.POSITIVE_INFINITY,
    (limits.maxTrajectoryTokens ?? Number.POSITIVE_INFINITY) - trajectory,
    (limits.maxSampledTokens ?? Number.POSITIVE_INFINITY) - sampled,
  );

/** Which limit cut a reply off: one of the whole episode that is used up with it, or else that of a reply. */
export function stopOfCutReply(limits: RolloutLimits, { trajectory, sampled, room }: Spent): LimitStop {
  if (limits.maxTrajectoryTokens !== undefined && trajectory >= limits.maxTrajectoryTokens)
    return 'max_trajectory_tokens';
  if (limits.maxSampledTokens !== undefined && sampled >= limits.maxSampledTokens) return 'max_sampled_tokens';
  return room < 1 || limits.maxTurnTokens === undefined ? 'length' : 'max_turn_tokens';
}

/** How many of a reply's calls are answered, and whether the limit then ends the episode. */
export function callsAnswered(
  { maxToolCalls = Number.POSITIVE_INFINITY }: RolloutLimits,
  before: number,
  asked: number,
): { readonly answered: number; readonly ends: boolean } {
  const left = Math.max(0, maxToolCalls - before);
  return { answered: Math.min(left, asked), ends: asked > left };
}
