import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import { type Advantage, nanAware, nanMean, nanStd, STD_EPSILON } from './advantage.js';

const SCALES = ['group', 'batch', 'none'] as const;

export interface GroupNormalizedOptions {
  /**
   * What the centred reward is divided by: the standard deviation of its group (GRPO), of the whole batch
   * (arXiv 2508.08221), or nothing (Dr. GRPO, arXiv 2503.20783). Default `group`.
   */
  readonly scaleRewards?: (typeof SCALES)[number];
}

/**
 * The advantage of GRPO (DeepSeekMath, arXiv 2402.03300): A_i = (r_i - mean r) / (std r + 1e-4) over the completions of
 * one prompt. Conventions of TRL: the standard deviation has ddof 1; a group with one scorable completion gives 0.
 */
export function groupNormalized(options: GroupNormalizedOptions = {}): Advantage {
  assertKnownOptions('groupNormalized', options, ['scaleRewards']);
  const { scaleRewards = 'group' } = options;
  if (!SCALES.includes(scaleRewards)) {
    throw new PosttrainError(
      'SCALE_REWARDS',
      `scaleRewards must be one of ${SCALES.join(', ')}, not "${scaleRewards}"`,
    );
  }
  return {
    name: `group-normalized(${scaleRewards})`,
    compute: (rewards) =>
      nanAware(rewards, (groups) => {
        const batchStd = nanStd(groups.flat());
        return groups.map((group) => {
          const mean = nanMean(group);
          const std = { group: nanStd(group), batch: batchStd, none: 1 - STD_EPSILON }[scaleRewards];
          return group.map((reward) => (reward - mean) / (std + STD_EPSILON));
        });
      }),
  };
}
