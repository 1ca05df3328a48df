import type { DecisiveSettings } from '@posttrain/interfaces';

/**
 * Rewards of one step: one array per prompt with one reward per completion. `null` means "not scorable"; such a
 * completion has no part in any mean and its advantage is 0.
 */
export type RewardGroups = readonly (readonly (number | null)[])[];

/** How much better than expected each completion was: advantages in the shape of the rewards. */
export interface Advantage {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** It compares completions of one prompt: with one a prompt it is 0. Default false. */
  readonly needsGroup?: boolean;
  compute(rewards: RewardGroups): number[][];
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

/** Runs `compute` with NaN for "not scorable" and turns NaN advantages into 0. */
export function nanAware(rewards: RewardGroups, compute: (groups: readonly number[][]) => number[][]): number[][] {
  const groups = rewards.map((group) => group.map((reward) => reward ?? Number.NaN));
  return compute(groups).map((group) => group.map((value) => (Number.isNaN(value) ? 0 : value)));
}
