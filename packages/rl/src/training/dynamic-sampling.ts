import { type DecisiveSettings, OptionError } from '@posttrain/interfaces';
import { weightedRewardsOf } from '../rewards/score-completions.js';
import type { ScoredRollout } from '../rollout.js';

/** Which prompts teach enough, by how many of their completions are right (PRIME's online prompt filter). */
export interface AccuracyFilter {
  /** The reward that says what is right: 1 for what is, 0 for what is not. */
  readonly reward: string;
  /** The least mean of it over a group. Default 0.2. */
  readonly from?: number;
  /** The largest. Default 0.8. */
  readonly to?: number;
}

/** When a group is put aside, and how often others are sampled in its place. */
export interface DynamicSampling {
  /** Most rounds of sampling in a step. */
  readonly maxRounds: number;
  /** Default: groups whose rewards are all equal are put aside. */
  readonly accuracy?: AccuracyFilter;
}

const KNOWN = ['maxRounds', 'accuracy'];
const KNOWN_OF_FILTER = ['reward', 'from', 'to'];

/** Whether it is one. */
export function isDynamicSampling(value: unknown): boolean {
  const { maxRounds, accuracy } = (value ?? {}) as Partial<DynamicSampling>;
  if (!Number.isInteger(maxRounds) || maxRounds! < 1) return false;
  if (Object.keys(value as object).some((name) => !KNOWN.includes(name))) return false;
  if (accuracy === undefined) return true;
  const { reward, from = 0.2, to = 0.8 } = accuracy;
  const areKnown = Object.keys(accuracy).every((name) => KNOWN_OF_FILTER.includes(name));
  return areKnown && typeof reward === 'string' && from >= 0 && from <= to && to <= 1;
}

/** What stands for it in the identity of a run. */
export const dynamicSamplingSettings = ({ maxRounds, accuracy }: DynamicSampling): DecisiveSettings => ({
  maxRounds,
  ...(accuracy && { from: 0.2, to: 0.8, ...accuracy }),
});

/** Whether the rewards of a group differ, so that there is something to learn from it. */
export function hasSpread(group: readonly Pick<ScoredRollout, 'reward'>[]): boolean {
  return new Set(group.flatMap(({ reward }) => reward ?? [])).size > 1;
}

/** Whether a group is learnt from. Completions that are not scorable have no part in its mean. */
export function teaches(
  group: readonly Pick<ScoredRollout, 'reward' | 'rewards'>[],
  accuracy: AccuracyFilter | undefined,
): boolean {
  if (!accuracy) return hasSpread(group);
  const { reward, from = 0.2, to = 0.8 } = accuracy;
  const found = group.flatMap(({ rewards }) => rewards[reward] ?? []);
  if (found.length === 0) return false;
  const mean = found.reduce((a, b) => a + b, 0) / found.length;
  return mean >= from && mean <= to;
}

/** @throws OptionError where the filter is of a reward that the run has not */
export function checkDynamicSampling(given: {
  readonly dynamicSampling?: DynamicSampling | undefined;
  readonly rewards: Parameters<typeof weightedRewardsOf>[0];
}): void {
  const { reward } = given.dynamicSampling?.accuracy ?? {};
  const names = weightedRewardsOf(given.rewards).map(({ name }) => name);
  if (reward === undefined || names.includes(reward)) return;
  const problem = `accuracy is of the reward "${reward}", and the rewards of the run are: ${names.join(', ')}.`;
  throw new OptionError('INVALID_OPTION', 'trainPolicy', 'dynamicSampling', problem);
}
