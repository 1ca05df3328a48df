import { custom, type Given, isPlainObject, options, PosttrainError } from '@posttrain/interfaces';
import { type Advantage, byGroup, nanMean, nanStd, STD_EPSILON } from './advantage.js';

export const gdpoShape = {
  /** What each reward counts, by its name. Default: every reward 1. */
  rewardWeights: custom<Readonly<Record<string, number>>>()('numbers by the names of rewards', isWeights, {
    optional: true,
    settings: (weights) => ({ ...weights }),
  }),
};
const gdpoOptions = options('gdpo', gdpoShape);
/** Options of `gdpo`. */
export type GdpoOptions = Given<typeof gdpoOptions>;

function isWeights(value: unknown): value is Readonly<Record<string, number>> {
  return isPlainObject(value) && Object.values(value).every((weight) => Number.isFinite(weight));
}

/** (x - mean) / (std + 1e-4), ddof 1, of the numbers that are there. */
const normalized = (values: readonly number[]): number[] => {
  const [mean, std] = [nanMean(values), nanStd(values)];
  return values.map((value) => (value - mean) / (std + STD_EPSILON));
};

/**
 * The advantage of GDPO (arXiv 2601.05242; TRL's `multi_objective_aggregation: normalize_then_sum`): every reward is normalised over the group by
 * itself, the weighted sum over the step. Rewards of which one is large, or rarely differs, then do not drown each other. Conventions of
 * `groupNormalized`; a reward that is `null` has no part. Weights are `rewardWeights`: those of a run's rewards, which would weigh their sum, are
 * refused by name.
 *
 * @throws OptionError; PosttrainError OBJECTIVE for a weight of a reward that no rollout has
 */
export function gdpo(given: GdpoOptions = {}): Advantage {
  const { rewardWeights } = gdpoOptions.read(given);
  return {
    name: 'gdpo',
    settings: gdpoOptions.settings(given),
    needsGroup: true,
    needs: ['rewardsByFunction'],
    weighsRewards: true,
    compute(rollouts) {
      const names = [...new Set(rollouts.flatMap(({ rewards }) => Object.keys(rewards ?? {})))];
      const unknown = Object.keys(rewardWeights ?? {}).find((name) => !names.includes(name));
      if (unknown !== undefined && rollouts.length > 0) {
        const problem = `rewardWeights has "${unknown}", and the rewards are ${names.join(', ')}`;
        throw new PosttrainError('OBJECTIVE', `gdpo: ${problem}`);
      }
      const sums = rollouts.map(() => 0);
      for (const name of names) {
        const own = rollouts.map((rollout) => ({
          ...rollout,
          reward: rollout.reward === null ? null : (rollout.rewards?.[name] ?? null),
        }));
        const weight = rewardWeights === undefined ? 1 : (rewardWeights[name] ?? 0);
        byGroup(own, (groups) => groups.map(normalized)).forEach((value, i) => {
          sums[i]! += weight * value;
        });
      }
      const scored = rollouts.map(({ reward }, i) => (reward === null ? Number.NaN : sums[i]!));
      return normalized(scored).map((value) => (Number.isNaN(value) ? 0 : value));
    },
  };
}
