import { boolean, type Given, options } from '@posttrain/interfaces';
import { namedReward, type RewardFunction } from './reward.js';

const environmentRewardOptions = options('environmentReward', {
  /** Add the rewards of turns. Default true; false where the advantage reads them itself (`gae({ turnRewards: true })`). */
  turns: boolean({ default: true }),
});
/** Options of `environmentReward`. */
export type EnvironmentRewardOptions = Given<typeof environmentRewardOptions>;

/**
 * What the environment paid for an episode, as a reward beside others: `reward()` of the episode, and the rewards of its
 * turns. An episode for which it paid nothing is worth 0, so that being cut off is no way out; null is for what `reward()`
 * says is not scorable, and for completions without an environment.
 */
export function environmentReward(given: EnvironmentRewardOptions = {}): RewardFunction {
  const { turns } = environmentRewardOptions.read(given);
  return namedReward('environment', environmentRewardOptions.settings(given), (_, { episodeReward, turnRewards }) => {
    if (episodeReward === null || (episodeReward === undefined && turnRewards === undefined)) return null;
    const paid = turns ? (turnRewards ?? []) : [];
    return paid.reduce((sum, { reward }) => sum + reward, episodeReward ?? 0);
  });
}
