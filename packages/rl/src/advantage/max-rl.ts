import { type Advantage, byGroup, nanMean } from './advantage.js';

/**
 * The advantage of MaxRL (arXiv 2602.02710): A_i = (r_i - p) / p with p the mean reward of the prompt, for rewards of 0 or 1. Where RL climbs E[p],
 * this climbs the log-likelihood of a right answer, log p, up to the order N - 1 of its series in 1 - p that N completions can see: hard prompts
 * weigh more. A group without a success has 0.
 */
export function maxRl(): Advantage {
  return {
    name: 'max-rl',
    settings: {},
    needsGroup: true,
    compute: (rollouts) =>
      byGroup(rollouts, (groups) =>
        groups.map((group) => {
          const mean = nanMean(group);
          return group.map((reward) => (mean > 0 ? (reward - mean) / mean : reward * 0));
        }),
      ),
  };
}
