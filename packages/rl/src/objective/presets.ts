import { custom, type Given, number, oneOf, options, settingsOf } from '@posttrain/interfaces';
import { gae, gaeShape } from '../advantage/gae.js';
import { leaveOneOut, leaveOneOutShape } from '../advantage/leave-one-out.js';
import { movingAverageBaseline } from '../advantage/moving-average-baseline.js';
import { reinforcePlusPlus, reinforcePlusPlusShape } from '../advantage/reinforce-plus-plus.js';
import { greedyBaseline, reMax } from '../advantage/remax.js';
import { vinePpo, vinePpoShape, vineValues, vineValuesShape } from '../advantage/vineppo.js';
import type { Annotator } from '../annotator.js';
import { type Critic, criticValues, inLoss } from '../critic/critic-values.js';
import type { LossObjective } from '../loss-objective.js';
import { klInLoss } from '../regulariser/kl-in-loss.js';
import { klInReward } from '../regulariser/kl-in-reward.js';
import { regulariserShape, regularisersOf } from '../regulariser/regularisers-of.js';
import {
  type MinimumRiskOptions,
  minimumRisk,
  minimumRiskOptions,
  minimumRiskRows,
} from '../sequence-level/minimum-risk.js';
import { clip, clipShape } from '../surrogate/clip.js';
import { unclipped } from '../surrogate/unclipped.js';
import { naturalPolicyGradient, naturalPolicyGradientShape } from '../update/natural-policy-gradient.js';
import { trpo, trpoShape } from '../update/trpo.js';
import { backgroundObjectives } from './background-presets.js';
import { distillationObjectives } from './distillation-presets.js';
import { bnpo, dapo, drGrpo, groupNormalized, groupNormalizedShape, grpo } from './grpo.js';
import type { PolicyObjectiveParts } from './policy-objective.js';
import { policyVariants } from './policy-variants.js';
import { primeObjective } from './prime.js';
import {
  batchMean,
  noBaseline,
  noRatio,
  policyGradient,
  sequenceMean,
  sequenceSum,
  sequenceSumRatio,
  tokenMean,
  tokenRatio,
} from './simple-parts.js';

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
const isBaseline = (value: unknown): boolean =>
  typeof value === 'string'
    ? ['none', 'batch-mean', 'moving-average'].includes(value)
    : (value as Partial<Annotator> | null)?.gives?.includes('baseline') === true;
const reinforceOptions = options('reinforce', {
  ...regulariserShape,
  /**
   * What is subtracted from the reward: nothing, the mean reward of the step, a moving average of those of the steps before, or what an annotator gives
   * every rollout as its `baseline`. Default `none`.
   */
  baseline: custom<'none' | 'batch-mean' | 'moving-average' | Annotator>()(
    'none, batch-mean, moving-average, or an annotator that gives a baseline',
    isBaseline,
    { default: 'none', settings: (value) => (typeof value === 'string' ? value : settingsOf(value)) },
  ),
});
/** Options of `policyObjectives.reinforce`. */
export type ReinforceOptions = Given<typeof reinforceOptions>;

const remaxOptions = options('remax', regulariserShape);
/** Options of `policyObjectives.remax`. */
export type RemaxOptions = Given<typeof remaxOptions>;

const { turnRewards: __, ...ppoGaeShape } = gaeShape;
const ppoOptions = options('ppo', {
  ...twoSidedShape,
  ...ppoGaeShape,
  ...regulariserShape,
  /** What gives states their values: `await valueModelCritic(await ValueModel.fromCausalLM(model))`, or `sharedValueHead`'s. */
  critic: custom<Critic>()(
    'a critic, such as await valueModelCritic(model)',
    (value) => typeof (value as Partial<Critic> | null | undefined)?.values === 'function',
    { settings: ({ settings }) => settingsOf(settings ?? {}) },
  ),
  /** Weight of the KL to the reference policy, which every token pays in its reward; 0 needs no reference. Default 0.05. */
  beta: number({ default: 0.05, min: 0 }),
  /** How that KL is estimated. Default `k1`. */
  klEstimator: oneOf(['k1', 'k3'], { default: 'k1' }),
});
/** Options of `policyObjectives.ppo`. */
export type PpoOptions = Given<typeof ppoOptions>;

const reinforcePlusPlusPresetOptions = options('reinforce_plus_plus', {
  ...twoSidedShape,
  ...reinforcePlusPlusShape,
  ...regulariserShape,
  /** Weight of the KL to the reference policy; 0 needs no reference. Default 0.01, as in OpenRLHF. */
  beta: number({ default: 0.01, min: 0 }),
});
/** Options of `policyObjectives.reinforce_plus_plus`. */
export type ReinforcePlusPlusObjectiveOptions = Given<typeof reinforcePlusPlusPresetOptions>;

const vineppoOptions = options('vineppo', {
  ...twoSidedShape,
  ...vinePpoShape,
  ...vineValuesShape,
  ...regulariserShape,
  /** Weight of the KL to the reference policy (k3, in the loss); 0 needs no reference. Default 1e-4, as in the paper. */
  beta: number({ default: 1e-4, min: 0 }),
});
/** Options of `policyObjectives.vineppo`. */
export type VineppoOptions = Given<typeof vineppoOptions>;

const trpoPresetOptions = options('trpo', { ...trpoShape, ...groupNormalizedShape });
/** Options of `policyObjectives.trpo`. */
export type TrpoObjectiveOptions = Given<typeof trpoPresetOptions>;

const naturalPresetOptions = options('natural_policy_gradient', {
  ...naturalPolicyGradientShape,
  ...groupNormalizedShape,
});
/** Options of `policyObjectives.natural_policy_gradient`. */
export type NaturalPolicyGradientObjectiveOptions = Given<typeof naturalPresetOptions>;

/**
 * Published algorithms as compositions of the five parts. Names are TRL's `loss_type`s and trainers. Each gives plain
 * parts: change one with `{ ...policyObjectives.grpo(), advantage: leaveOneOut() }`.
 */
export const policyObjectives = {
  grpo,
  dr_grpo: drGrpo,
  dapo,
  bnpo,
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
  /**
   * PPO (arXiv 1707.06347; InstructGPT, arXiv 2203.02155) as in TRL's PPOTrainer: the clipped surrogate of every token, whitened
   * advantages of a critic by GAE, and the KL in the reward of every token. TRL's `num_ppo_epochs` are `iterationsPerBatch` of
   * the run and of the critic.
   */
  ppo: (options: PpoOptions): PolicyObjectiveParts => {
    const { critic, beta, entropyCoef, klEstimator, epsilon, epsilonHigh, ...steps } = ppoOptions.read(options);
    return {
      name: 'ppo',
      advantage: gae(steps),
      annotators: [criticValues(critic, steps)],
      ratio: tokenRatio(),
      surrogate: clip({ epsilon, ...(epsilonHigh !== undefined && { epsilonHigh }) }),
      aggregation: tokenMean(),
      regularisers: [
        ...inLoss(critic, steps),
        ...regularisersOf({ beta, entropyCoef }, ({ beta: weight }) =>
          klInReward({ beta: weight, estimator: klEstimator }),
        ),
      ],
    };
  },
  /**
   * REINFORCE++ (arXiv 2501.03262) as in OpenRLHF: returns of tokens whitened over the step, the clipped surrogate, and the KL in the
   * reward of every token (k1). With `baseline: 'group'` it is REINFORCE++-baseline, whose KL is in the loss (k2).
   */
  reinforce_plus_plus: (options: ReinforcePlusPlusObjectiveOptions = {}): PolicyObjectiveParts => {
    const { gamma, baseline, beta, entropyCoef, ...clipping } = reinforcePlusPlusPresetOptions.read(options);
    const kl = { none: klInReward, group: (given: { beta: number }) => klInLoss({ ...given, estimator: 'k2' }) };
    return {
      name: 'reinforce_plus_plus',
      advantage: reinforcePlusPlus({ gamma, baseline }),
      ratio: tokenRatio(),
      surrogate: clip(clipping),
      aggregation: tokenMean(),
      regularisers: regularisersOf({ beta, entropyCoef }, kl[baseline]),
    };
  },
  /**
   * VinePPO (arXiv 2410.01679): PPO whose values are means over completions sampled on from the state before each step of reasoning, and
   * of no critic. `stepTokens` say where steps end.
   */
  vineppo: (options: VineppoOptions): PolicyObjectiveParts => {
    const { stepTokens, gamma, mcRollouts, beta, entropyCoef, ...clipping } = vineppoOptions.read(options);
    return {
      name: 'vineppo',
      advantage: vinePpo({ stepTokens, gamma }),
      annotators: [vineValues({ stepTokens, mcRollouts })],
      ratio: tokenRatio(),
      surrogate: clip(clipping),
      aggregation: tokenMean(),
      regularisers: regularisersOf({ beta, entropyCoef }, klInLoss),
    };
  },
  /** REINFORCE (Williams, 1992), with any baseline: A = r - b. */
  reinforce: (options: ReinforceOptions = {}): PolicyObjectiveParts => {
    const { baseline, ...others } = reinforceOptions.read(options);
    const annotator = baseline === 'moving-average' ? movingAverageBaseline() : baseline;
    return {
      name: 'reinforce',
      ...(typeof annotator === 'string'
        ? { advantage: BASELINES[annotator]() }
        : { advantage: { ...reMax(), name: 'baseline' }, annotators: [annotator] }),
      ratio: noRatio(),
      surrogate: policyGradient(),
      aggregation: sequenceSum(),
      regularisers: regularisersOf(others, klInReward),
    };
  },
  /**
   * TRPO (arXiv 1502.05477) with the group's normalised reward for an advantage: every update within a trust region,
   * found by conjugate gradients and a line search. No learning rate, and no optimizer.
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
  /**
   * Minimum risk training (arXiv 1512.02433): the completions of a prompt are its candidates, the risk of each is -reward. They are drawn at the
   * run's temperature; p is that of the model itself, as in the paper. The ratio to an earlier policy has no part in it, so that
   * candidates of any source will do.
   */
  minimum_risk: (options: MinimumRiskOptions = {}): LossObjective => ({
    name: 'minimum_risk',
    settings: minimumRiskOptions.settings(options),
    needsGroup: true,
    loss: minimumRisk(options),
    rows: (rollouts) => ({ rows: minimumRiskRows(rollouts) }),
  }),
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
  /**
   * The natural policy gradient (Kakade, 2001) with the group's normalised reward for an advantage: REINFORCE, each update multiplied by the inverse
   * Fisher information of the policy. The learning rate is its step, unless `normalizedKl` says how far it goes.
   */
  natural_policy_gradient: (options: NaturalPolicyGradientObjectiveOptions = {}): PolicyObjectiveParts => {
    const { scaleRewards, ...rule } = naturalPresetOptions.read(options);
    return {
      name: 'natural_policy_gradient',
      advantage: groupNormalized({ scaleRewards }),
      ratio: noRatio(),
      surrogate: policyGradient(),
      aggregation: tokenMean(),
      update: naturalPolicyGradient(rule),
    };
  },
  ...policyVariants,
  prime: primeObjective,
  ...backgroundObjectives,
  ...distillationObjectives,
} as const;

/** The name of an objective of `policyObjectives`. */
export type PolicyObjectiveName = keyof typeof policyObjectives;
