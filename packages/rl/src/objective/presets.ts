import { assertKnownOptions, nearestName, PosttrainError } from '@posttrain/interfaces';
import { batchMean } from '../advantage/batch-mean.js';
import { type GroupNormalizedOptions, groupNormalized } from '../advantage/group-normalized.js';
import { type LeaveOneOutOptions, leaveOneOut } from '../advantage/leave-one-out.js';
import { noBaseline } from '../advantage/no-baseline.js';
import type { Aggregation } from '../aggregation/aggregation.js';
import { constantLength } from '../aggregation/constant-length.js';
import { type LocalTokenMeanOptions, localTokenMean } from '../aggregation/local-token-mean.js';
import { sequenceMean } from '../aggregation/sequence-mean.js';
import { sequenceSum } from '../aggregation/sequence-sum.js';
import { tokenMean } from '../aggregation/token-mean.js';
import { noRatio } from '../ratio/no-ratio.js';
import { sequenceRatio } from '../ratio/sequence-ratio.js';
import { sequenceSumRatio } from '../ratio/sequence-sum-ratio.js';
import { tokenRatio } from '../ratio/token-ratio.js';
import { entropyBonus } from '../regulariser/entropy-bonus.js';
import { klInLoss } from '../regulariser/kl-in-loss.js';
import { klInReward } from '../regulariser/kl-in-reward.js';
import type { Regulariser } from '../regulariser/regulariser.js';
import { CLIP_OPTIONS, type ClipOptions, clip } from '../surrogate/clip.js';
import { policyGradient } from '../surrogate/policy-gradient.js';
import type { PolicyObjectiveParts } from './policy-objective.js';

interface RegulariserOptions {
  /** Weight of the KL to the reference policy; 0 needs no reference. Default 0. */
  readonly beta?: number;
  /** Weight of the entropy bonus. Default 0. */
  readonly entropyCoef?: number;
}

/** Options of the GRPO family, with TRL's names (in camel case) and defaults. */
export interface GrpoOptions extends ClipOptions, GroupNormalizedOptions, RegulariserOptions {
  /** `sequence` gives GSPO (arXiv 2507.18071). Default `token`. */
  readonly importanceSamplingLevel?: 'token' | 'sequence';
}

export interface BnpoOptions extends GrpoOptions, LocalTokenMeanOptions {}

export interface RlooOptions extends Omit<ClipOptions, 'delta'>, LeaveOneOutOptions, RegulariserOptions {}

export interface ReinforceOptions extends RegulariserOptions {
  /** What is subtracted from the reward: nothing, or the mean reward of the step. Default `none`. */
  readonly baseline?: 'none' | 'batch-mean';
}

const REGULARISER_OPTIONS = ['beta', 'entropyCoef'];
const GRPO_OPTIONS = [...CLIP_OPTIONS, ...REGULARISER_OPTIONS, 'scaleRewards', 'importanceSamplingLevel'];

const given = <T extends object, K extends keyof T>(options: T, keys: readonly K[]): Pick<T, K> =>
  Object.fromEntries(keys.filter((key) => options[key] !== undefined).map((key) => [key, options[key]])) as Pick<T, K>;

function choose<T>(where: string, table: Readonly<Record<string, T>>, name: string): T {
  if (Object.hasOwn(table, name)) return table[name]!;
  const near = nearestName(name, Object.keys(table));
  throw new PosttrainError(
    'UNKNOWN_OPTION',
    `${where}: "${name}" is not one of ${Object.keys(table).join(', ')}${near ? `; did you mean "${near}"?` : ''}`,
  );
}

function regularisersOf(
  { beta = 0, entropyCoef = 0 }: RegulariserOptions,
  kl: (options: { beta: number }) => Regulariser,
): Regulariser[] {
  return [...(beta === 0 ? [] : [kl({ beta })]), ...(entropyCoef === 0 ? [] : [entropyBonus({ entropyCoef })])];
}

function grpoFamily(
  name: string,
  options: GrpoOptions,
  aggregation: Aggregation,
  further: readonly string[] = [],
): PolicyObjectiveParts {
  assertKnownOptions(name, options, [...GRPO_OPTIONS, ...further]);
  const ratios = { token: tokenRatio, sequence: sequenceRatio };
  return {
    name,
    advantage: groupNormalized(given(options, ['scaleRewards'])),
    ratio: choose(`${name}: importanceSamplingLevel`, ratios, options.importanceSamplingLevel ?? 'token')(),
    surrogate: clip(given(options, CLIP_OPTIONS)),
    aggregation,
    regularisers: regularisersOf(options, klInLoss),
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
  dr_grpo: (options: GrpoOptions = {}) => grpoFamily('dr_grpo', { scaleRewards: 'none', ...options }, constantLength()),
  /** DAPO (arXiv 2503.14476): all tokens of the step weigh the same, and the upper clip is wider. */
  dapo: (options: GrpoOptions = {}) => grpoFamily('dapo', { epsilonHigh: 0.28, ...options }, tokenMean()),
  /** BNPO as TRL calls it: the mean over the tokens of a local batch. */
  bnpo: (options: BnpoOptions = {}) =>
    grpoFamily('bnpo', options, localTokenMean(given(options, ['localBatchSize'])), ['localBatchSize']),
  /** RLOO (arXiv 2402.14740) as in TRL: the ratio of whole completions, clipped, and the KL inside the reward. Default β 0.05. */
  rloo: (options: RlooOptions = {}): PolicyObjectiveParts => {
    assertKnownOptions('rloo', options, ['epsilon', 'epsilonHigh', ...REGULARISER_OPTIONS, 'normalizeAdvantages']);
    return {
      name: 'rloo',
      advantage: leaveOneOut(given(options, ['normalizeAdvantages'])),
      ratio: sequenceSumRatio(),
      surrogate: clip(given(options, ['epsilon', 'epsilonHigh'])),
      aggregation: sequenceMean(),
      regularisers: regularisersOf({ beta: 0.05, ...given(options, ['beta', 'entropyCoef']) }, klInReward),
    };
  },
  /** REINFORCE (Williams, 1992), optionally with the step's mean reward as its baseline. */
  reinforce: (options: ReinforceOptions = {}): PolicyObjectiveParts => {
    assertKnownOptions('reinforce', options, [...REGULARISER_OPTIONS, 'baseline']);
    const baselines = { none: noBaseline, 'batch-mean': batchMean };
    return {
      name: 'reinforce',
      advantage: choose('reinforce: baseline', baselines, options.baseline ?? 'none')(),
      ratio: noRatio(),
      surrogate: policyGradient(),
      aggregation: sequenceSum(),
      regularisers: regularisersOf(options, klInReward),
    };
  },
} as const;

export type PolicyObjectiveName = keyof typeof policyObjectives;
