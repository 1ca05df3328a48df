import type { ChatMessage, Completion } from '@posttrain/interfaces';
import type { PromptRow, TurnReward } from './rewards/reward.js';
import type { StopReason } from './rollout/rollout-limits.js';

/**
 * A sampled sequence and all that is known of it. The rollouts of a step are one flat list, to which every stage adds: the
 * source what it sampled, rewards and annotators what it is worth, the trainer log-probabilities. Arrays have one entry per
 * completion token.
 */
export interface Rollout<Row extends PromptRow = PromptRow> {
  /** Rollouts of one number are compared with each other: those of one prompt. */
  readonly group: number;
  /** Index in the list of the rollout whose prefix this one went on from. */
  readonly parent?: number;
  /** Whose part it is where an episode has several: `proposer`, `critic`. */
  readonly role?: string;
  /** Which policy sampled it, where there are several. */
  readonly policy?: string;
  readonly promptTokens: readonly number[];
  /** As sampled, end tokens included; of an episode also what the environment said. */
  readonly completionTokens: readonly number[];
  /** 0 for tokens that are not trained (written by a tool, or of a truncated completion). Default: all trained. */
  readonly mask?: ArrayLike<number>;
  /** Weighted sum of `rewards`; null: not scorable. */
  readonly reward: number | null;
  /** By reward function. */
  readonly rewards?: Readonly<Record<string, number | null>>;
  /** Rewards of single tokens, beside `reward`, which belongs to the last one. */
  readonly tokenRewards?: ArrayLike<number>;
  /** Rewards of turns, which an environment paid; none of them is in `reward`. */
  readonly turnRewards?: readonly TurnReward[];
  /** V(s_t): the value of the state before each token. */
  readonly values?: ArrayLike<number>;
  /** V of the state behind the last token. */
  readonly endValue?: number;
  /** What the reward is compared with, when something knows it. */
  readonly baseline?: number;
  /** log π_old of each token: under the policy before the first update. */
  readonly oldLogProbs: ArrayLike<number>;
  /**
   * log p of each token when it was sampled, before top-k, top-p and min-p cut the distribution; of a source that samples from
   * something else than the policy, what it was drawn with.
   */
  readonly samplerLogProbs?: ArrayLike<number>;
  /** log π_ref of each token; needed when `needsReference`. */
  readonly referenceLogProbs?: ArrayLike<number>;
  readonly row?: Row;
  /** The completion's text; of an episode the assistant's last message. */
  readonly text?: string;
  /** The whole conversation of an episode. */
  readonly messages?: readonly ChatMessage[];
  readonly finishReason?: Completion['finishReason'];
  /** Why an episode ended. */
  readonly stopReason?: StopReason;
  /** What failed; such a rollout is neither scored nor trained, and no mean has it. */
  readonly failure?: string;
  /** Rollouts of one group and this name are of one episode, whose history was rewritten: they are worth the same, and count once. */
  readonly episode?: string;
  /** What the reward may be at most: of an episode that a limit ended. */
  readonly rewardAtMost?: number;
  /** What of the rewards failed, by name. */
  readonly rewardFailures?: Readonly<Record<string, string>>;
  /** Fields that others have brought, by name: `rolloutField` writes and reads them. One number, or one or more a token. */
  readonly extras?: Readonly<Record<string, number | ArrayLike<number>>>;
  /** What the environment says the whole episode is worth; `environmentReward` makes a reward of it. */
  readonly episodeReward?: number | null;
}

type Known<Row extends PromptRow, Names extends keyof Rollout> = Omit<Rollout<Row>, Names> & {
  readonly [Name in Names]-?: NonNullable<Rollout<Row>[Name]>;
};

/**
 * A rollout as a source gives it: sampled, and not scored, unless it has been before (a replay). `oldLogProbs` where the
 * sampler's are not the policy's.
 */
export type SampledRollout<Row extends PromptRow = PromptRow> = Omit<
  Known<Row, 'row' | 'text' | 'finishReason' | 'samplerLogProbs'>,
  'reward' | 'rewards' | 'oldLogProbs' | 'referenceLogProbs'
> &
  Partial<Pick<Rollout, 'oldLogProbs' | 'reward' | 'rewards'>>;

/** A sampled rollout with its rewards. */
export type ScoredRollout<Row extends PromptRow = PromptRow> = SampledRollout<Row> &
  Pick<Rollout, 'reward' | 'rewardFailures'> & { readonly rewards: NonNullable<Rollout['rewards']> };

/** Values of one key together, keys in the order in which they first come. */
export function alike<T>(values: readonly T[], keyOf: (value: T) => unknown): T[][] {
  const lists = new Map<unknown, T[]>();
  for (const value of values) {
    const key = keyOf(value);
    const list = lists.get(key);
    if (list) list.push(value);
    else lists.set(key, [value]);
  }
  return [...lists.values()];
}

/** Rollouts by group, groups in the order of their first rollout: a view of the flat list. */
export function groupsOf<R extends Pick<Rollout, 'group'>>(rollouts: readonly R[]): R[][] {
  return alike(rollouts, ({ group }) => group);
}

/**
 * Places of the rollouts that stand for an episode: of several of one episode, the last, which has its end. One that is no part of an
 * episode stands for itself.
 */
export function episodeEnds(rollouts: readonly Pick<Rollout, 'group' | 'episode'>[]): number[] {
  const last = new Map<string, number>();
  rollouts.forEach(({ group, episode }, i) => {
    if (episode !== undefined) last.set(`${group} ${episode}`, i);
  });
  return rollouts.flatMap(({ group, episode }, i) =>
    episode === undefined || last.get(`${group} ${episode}`) === i ? [i] : [],
  );
}

/** 1 for each completion token that is trained, else 0. */
export const trainedTokens = ({ completionTokens, mask }: Pick<Rollout, 'completionTokens' | 'mask'>): number[] =>
  completionTokens.map((_, t) => ((mask?.[t] ?? 1) ? 1 : 0));
