import { type Given, number, oneOf, options } from '@posttrain/interfaces';
import { batchMean } from '../advantage/batch-mean.js';
import { groupNormalized, groupNormalizedShape } from '../advantage/group-normalized.js';
import { leaveOneOut, leaveOneOutShape } from '../advantage/leave-one-out.js';
import { noBaseline } from '../advantage/no-baseline.js';
import { greedyBaseline, reMax } from '../advantage/remax.js';
import { type Aggregation, constantLength, sequenceMean, sequenceSum, tokenMean } from '../aggregation/aggregation.js';
import { localTokenMean, localTokenMeanShape } from '../aggregation/local-token-mean.js';
import { noRatio, sequenceRatio, sequenceSumRatio, tokenRatio } from '../ratio/ratio.js';
import { entropyBonus } from '../regulariser/entropy-bonus.js';
import { klInLoss } from '../regulariser/kl-in-loss.js';
import { klInReward } from '../regulariser/kl-in-reward.js';
import type { Regulariser } from '../regulariser/regulariser.js';
import { clip, clipShape } from '../surrogate/clip.js';
import { policyGradient } from '../surrogate/policy-gradient.js';
import { unclipped } from '../surrogate/unclipped.js';
import { trpo, trpoShape } from '../update/trpo.js';
import type { PolicyObjectiveParts } from './policy-objective.js';

const regulariserShape = {
  /** Weight of the KL to the reference policy; 0 needs no reference. Default 0. */
  beta: number({ default: 0, min: 0 }),
  /** Weight of the entropy bonus. Default 0. */
  entropyCoef: number({ default: 0 }),
};

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

const { delta: _, ...twoSidedShape } = clipShape;
const rlooOptions = options('rloo', {
  ...twoSidedShape,
  ...leaveOneOutShape,
  ...regulariserShape,
  /** Weight of the KL to the reference policy; 0 needs no reference. Default 0.05. */
  beta: number({ default: 0.05, min: 0 }),
});
/** Options of `policyObjectives.rloo`. */
export type RlooOptions = Given<typeof rlooOptions>;

const BASELINES = { none: noBaseline, 'batch-mean': batchMean };
const reinforceOptions = options('reinforce', {
  ...regulariserShape,
  /** What is subtracted from the reward: nothing, or the mean reward of the step. Default `none`. */
  baseline: oneOf(['none', 'batch-mean'], { default: 'none' }),
});
/** Options of `policyObjectives.reinforce`. */
export type ReinforceOptions = Given<typeof reinforceOptions>;

const remaxOptions = options('remax', regulariserShape);
/** Options of `policyObjectives.remax`. */
export type RemaxOptions = Given<typeof remaxOptions>;

const trpoPresetOptions = options('trpo', { ...trpoShape, ...groupNormalizedShape });
/** Options of `policyObjectives.trpo`. */
export type TrpoObjectiveOptions = Given<typeof trpoPresetOptions>;

interface RegulariserOptions {
  readonly beta: number;
  readonly entropyCoef: number;
}

/** Undefined is "not given", also where a preset has a default of its own. */
const withoutUndefined = <T extends object>(given: T): T =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as T;

function regularisersOf(
  { beta, entropyCoef }: RegulariserOptions,
  kl: (options: { beta: number }) => Regulariser,
): Regulariser[] {
  return [...(beta === 0 ? [] : [kl({ beta })]), ...(entropyCoef === 0 ? [] : [entropyBonus({ entropyCoef })])];
}

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
 * Published algorithms as compositions of the five parts. Names are TRL's `loss_type`s and trainers. Each gives plain
 * parts: change one with `{ ...policyObjectives.grpo(), advantage: leaveOneOut() }`.
 */
export const policyObjectives = {
  /** GRPO (DeepSeekMath, arXiv 2402.03300). */
  grpo: (options: GrpoOptions = {}) => grpoFamily('grpo', options, sequenceMean()),
  /** Dr. GRPO (arXiv 2503.20783): neither the group's standard deviation nor the length divides. */
  dr_grpo: (options: GrpoOptions = {}) =>
    grpoFamily('dr_grpo', { scaleRewards: 'none', ...withoutUndefined(options) }, constantLength()),
  /** DAPO (arXiv 2503.14476): all tokens of the step weigh the same, and the upper clip is wider. */
  dapo: (options: GrpoOptions = {}) =>
    grpoFamily('dapo', { epsilonHigh: 0.28, ...withoutUndefined(options) }, tokenMean()),
  /** BNPO as TRL calls it: the mean over the tokens of a local batch. */
  bnpo: (options: BnpoOptions = {}) => {
    const { localBatchSize, ...others } = bnpoOptions.read(options);
    return grpoFamily('bnpo', others, localTokenMean(localBatchSize === undefined ? {} : { localBatchSize }));
  },
  /** RLOO (arXiv 2402.14740) as in TRL: the ratio of whole completions, clipped, and the KL inside the reward. Default β 0.05. */
  rloo: (options: RlooOptions = {}): PolicyObjectiveParts => {
    const { normalizeAdvantages, beta, entropyCoef, ...clipping } = rlooOptions.read(options);
    return {
      name: 'rloo',
      advantage: leaveOneOut({ normalizeAdvantages }),
      ratio: sequenceSumRatio(),
      surrogate: clip(clipping),
      aggregation: sequenceMean(),
      regularisers: regularisersOf({ beta, entropyCoef }, klInReward),
    };
  },
  /** REINFORCE (Williams, 1992), optionally with the step's mean reward as its baseline. */
  reinforce: (options: ReinforceOptions = {}): PolicyObjectiveParts => {
    const { baseline, ...others } = reinforceOptions.read(options);
    return {
      name: 'reinforce',
      advantage: BASELINES[baseline](),
      ratio: noRatio(),
      surrogate: policyGradient(),
      aggregation: sequenceSum(),
      regularisers: regularisersOf(others, klInReward),
    };
  },
  /**
   * TRPO (arXiv 1502.05477) with the group's normalised reward for an advantage: every update within a trust region, found by conjugate
   * gradients and a line search. No learning rate, and no optimizer.
   */
  trpo: (options: TrpoObjectiveOptions = {}): PolicyObjectiveParts => {
    const { scaleRewards, ...region } = trpoPresetOptions.read(options);
    return {
      name: 'trpo',
      advantage: groupNormalized({ scaleRewards }),
      ratio: tokenRatio(),
      surrogate: unclipped(),
      aggregation: tokenMean(),
      update: trpo(region),
    };
  },
  /** ReMax (arXiv 2310.10505): REINFORCE with the reward of the greedy completion as its baseline; one completion a prompt is enough. */
  remax: (options: RemaxOptions = {}): PolicyObjectiveParts => ({
    name: 'remax',
    advantage: reMax(),
    annotators: [greedyBaseline()],
    ratio: noRatio(),
    surrogate: policyGradient(),
    aggregation: sequenceSum(),
    regularisers: regularisersOf(remaxOptions.read(options), klInReward),
  }),
} as const;

/** The name of an objective of `policyObjectives`. */
export type PolicyObjectiveName = keyof typeof policyObjectives;
