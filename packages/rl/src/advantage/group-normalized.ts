import { type Given, oneOf, options } from '@posttrain/interfaces';
import { type Advantage, byGroup, nanMean, nanStd, STD_EPSILON } from './advantage.js';

export const groupNormalizedShape = {
  /**
   * What the centred reward is divided by: the standard deviation of its group (GRPO), of the whole batch
   * (arXiv 2508.08221), or nothing (Dr. GRPO, arXiv 2503.20783). Default `group`.
   */
  scaleRewards: oneOf(['group', 'batch', 'none'], { default: 'group' }),
};
const groupNormalizedOptions = options('groupNormalized', groupNormalizedShape);
/** Options of `groupNormalized`. */
export type GroupNormalizedOptions = Given<typeof groupNormalizedOptions>;

/**
 * The advantage of GRPO (DeepSeekMath, arXiv 2402.03300): A_i = (r_i - mean r) / (std r + 1e-4) over the completions of
 * one prompt. Conventions of TRL: the standard deviation has ddof 1; a group with one scorable completion gives 0.
 */
export function groupNormalized(given: GroupNormalizedOptions = {}): Advantage {
  const { scaleRewards } = groupNormalizedOptions.read(given);
  return {
    name: `group-normalized(${scaleRewards})`,
    settings: groupNormalizedOptions.settings(given),
    needsGroup: true,
    compute: (rollouts) =>
      byGroup(rollouts, (groups) => {
        const batchStd = nanStd(groups.flat());
        return groups.map((group) => {
          const mean = nanMean(group);
          const std = { group: nanStd(group), batch: batchStd, none: 1 - STD_EPSILON }[scaleRewards];
          return group.map((reward) => (reward - mean) / (std + STD_EPSILON));
        });
      }),
  };
}
