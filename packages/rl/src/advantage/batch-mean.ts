import { type Advantage, byGroup, nanMean } from './advantage.js';

/** REINFORCE with the mean reward of the step as its baseline: A_i = r_i - mean over all completions of all prompts. */
export function batchMean(): Advantage {
  return {
    name: 'batch-mean',
    settings: {},
    compute: (rollouts) =>
      byGroup(rollouts, (groups) => {
        const mean = nanMean(groups.flat());
        return groups.map((group) => group.map((reward) => reward - mean));
      }),
  };
}
