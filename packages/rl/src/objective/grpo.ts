import { type Given, oneOf, options } from '@posttrain/interfaces';
import { type Advantage, byGroup, nanMean, nanStd, STD_EPSILON } from '../advantage/advantage.js';
import type { Aggregation } from '../aggregation/aggregation.js';
import { localTokenMean, localTokenMeanShape } from '../aggregation/local-token-mean.js';
import { klInLoss } from '../regulariser/kl-in-loss.js';
import { regulariserShape, regularisersOf } from '../regulariser/regularisers-of.js';
import { clip, clipShape } from '../surrogate/clip.js';
import type { PolicyObjectiveParts } from './policy-objective.js';
import { constantLength, sequenceMean, sequenceRatio, tokenMean, tokenRatio } from './simple-parts.js';

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

const RATIOS = { token: tokenRatio, sequence: sequenceRatio };
const grpoShape = {
  ...clipShape,
  ...groupNormalizedShape,
  ...regulariserShape,
  /** `sequence` gives GSPO (arXiv 2507.18071). Default `token`. */
  importanceSamplingLevel: oneOf(['token', 'sequence'], { default: 'token' }),
};
const grpoOptions = (name: string) => options(name, grpoShape);
/** Options of the GRPO family, with TRL's names (in camel case) and defaults. */
export type GrpoOptions = Given<ReturnType<typeof grpoOptions>>;

const bnpoOptions = options('bnpo', { ...grpoShape, ...localTokenMeanShape });
/** Options of `policyObjectives.bnpo`. */
export type BnpoOptions = Given<typeof bnpoOptions>;

/** Undefined is "not given", also where a preset has a default of its own. */
const withoutUndefined = <T extends object>(given: T): T =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as T;

function grpoFamily(name: string, given: GrpoOptions, aggregation: Aggregation): PolicyObjectiveParts {
  const { scaleRewards, importanceSamplingLevel, beta, entropyCoef, ...clipping } = grpoOptions(name).read(given);
  return {
    name,
    advantage: groupNormalized({ scaleRewards }),
    ratio: RATIOS[importanceSamplingLevel](),
    surrogate: clip(clipping),
    aggregation,
    regularisers: regularisersOf({ beta, entropyCoef }, klInLoss),
  };
}

/**
 * GRPO (DeepSeekMath, arXiv 2402.03300). For completions i of one prompt, with tokens t and ρ = π(t) / π_old(t):
 *
 *     A_i = (r_i - mean r) / (std r + 1e-4)
 *     loss = mean_i mean_t [ -min(ρ A_i, clip(ρ, 1 - ε, 1 + ε) A_i) + β KL(π ‖ reference) ]
 *
 * No critic: the group's mean is the baseline.
 */
export const grpo = (options: GrpoOptions = {}) => grpoFamily('grpo', options, sequenceMean());

/** Dr. GRPO (arXiv 2503.20783): neither the group's standard deviation nor the length divides. */
export const drGrpo = (options: GrpoOptions = {}) =>
  grpoFamily('dr_grpo', { scaleRewards: 'none', ...withoutUndefined(options) }, constantLength());

/** DAPO (arXiv 2503.14476): all tokens of the step weigh the same, and the upper clip is wider. */
export const dapo = (options: GrpoOptions = {}) =>
  grpoFamily('dapo', { epsilonHigh: 0.28, ...withoutUndefined(options) }, tokenMean());

/** BNPO as TRL calls it: the mean over the tokens of a local batch. */
export const bnpo = (options: BnpoOptions = {}) => {
  const { localBatchSize, ...others } = bnpoOptions.read(options);
  return grpoFamily('bnpo', others, localTokenMean(localBatchSize === undefined ? {} : { localBatchSize }));
};
