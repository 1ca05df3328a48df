import type { DecisiveSettings } from '@posttrain/interfaces';
import type { Metrics } from '@posttrain/training';
import { groupsOf, type Rollout } from '../rollout.js';
import type { ExtraNeed } from '../rollout-field.js';
import type { Stateful } from '../stateful.js';

/** Where a rollout has what an advantage may need. */
const FIELD_OF_NEED = {
  values: 'values',
  tokenRewards: 'tokenRewards',
  turnRewards: 'turnRewards',
  rewardsByFunction: 'rewards',
  baseline: 'baseline',
} as const satisfies Readonly<Record<string, keyof Rollout>>;

/**
 * What an advantage may read of a rollout beside its reward, and what must come from somewhere; `rolloutField` makes one of
 * anybody's (`extras.NAME`).
 */
export type RolloutNeed = keyof typeof FIELD_OF_NEED | ExtraNeed;

/** What a rollout has of it; undefined: nothing. */
export function needOf(rollout: Rollout, need: RolloutNeed): unknown {
  if (need.startsWith('extras.')) return rollout.extras?.[need.slice('extras.'.length)];
  return rollout[FIELD_OF_NEED[need as keyof typeof FIELD_OF_NEED]];
}

/** How much better than expected each completion was, or each token of it. What it learns over steps is its `state`. */
export interface Advantage extends Partial<Stateful> {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** It compares completions of one prompt: with one a prompt it is 0. Default false. */
  readonly needsGroup?: boolean;
  /** It weighs the rewards of `rewards` by itself: a run in which one has a weight other than 1 is refused. Default false. */
  readonly weighsRewards?: boolean;
  /** What every rollout must have; a run in which nothing gives it is refused before its first step. Default: nothing. */
  readonly needs?: readonly RolloutNeed[];
  /**
   * Where penalties of the reward go (KL): off `reward` (`sequence`), or off `tokenRewards`, each where its token is
   * (`token`). Default `sequence`.
   */
  readonly level?: 'sequence' | 'token';
  /**
   * @returns in the order of the rollouts, one number for all tokens of a completion or an array with one a token. A
   *   rollout whose reward is null is not scorable: it has no part in any mean and its advantage is 0 (of one that
   *   reads rewards).
   */
  compute(rollouts: readonly Rollout[]): readonly (number | ArrayLike<number>)[];
  /** Called after the step's updates with the rollouts as it saw them. What it changes must be in `state`; what it gives is logged. */
  learn?(rollouts: readonly Rollout[]): Metrics;
}

/** Mean of the numbers that are there; NaN when none is. */
export function nanMean(values: readonly number[]): number {
  const there = values.filter((value) => !Number.isNaN(value));
  return there.reduce((a, b) => a + b, 0) / there.length;
}

/** Standard deviation (ddof 1) of the numbers that are there; NaN when there are fewer than two. */
export function nanStd(values: readonly number[]): number {
  const there = values.filter((value) => !Number.isNaN(value));
  const mean = nanMean(there);
  if (there.length < 2) return Number.NaN;
  return Math.sqrt(there.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (there.length - 1));
}

/** Added to standard deviations before dividing, as TRL does (verl adds 1e-6). */
export const STD_EPSILON = 1e-4;

/** Runs `compute` on the rewards by group, with NaN for "not scorable"; NaN advantages become 0. Gives them flat again. */
export function byGroup(
  rollouts: readonly Rollout[],
  compute: (groups: readonly number[][]) => readonly (readonly number[])[],
): number[] {
  const places = groupsOf(rollouts.map(({ group }, i) => ({ group, i }))).map((group) => group.map(({ i }) => i));
  const advantages = compute(places.map((group) => group.map((i) => rollouts[i]!.reward ?? Number.NaN)));
  const flat = new Array<number>(rollouts.length).fill(0);
  places.forEach((group, g) => {
    group.forEach((i, j) => {
      const value = advantages[g]![j]!;
      flat[i] = Number.isNaN(value) ? 0 : value;
    });
  });
  return flat;
}
