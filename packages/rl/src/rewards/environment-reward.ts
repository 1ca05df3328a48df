import { namedReward, type PromptRow, type RewardFunction } from './reward.js';

/** What the environment says an episode is worth, as a reward beside others; null where it says nothing. */
export const environmentReward = <Row extends PromptRow>(): RewardFunction<Row> =>
  namedReward('environment', {}, (_, { episodeReward = null }) => episodeReward);
