import { boolean, custom, type Given, integer, number, OptionError, oneOf, options } from '@posttrain/interfaces';
import type { CausalLM } from '@posttrain/lm';
import { bond, bondAnchor, bondAnchorShape, bondShape } from '../distillation/bond.js';
import { miniLlm, miniLlmShape } from '../distillation/minillm.js';
import { onPolicyDistillation, outcomeShape, reverseKlMetric } from '../distillation/on-policy-distillation.js';
import { type SdftOptions, sdft } from '../distillation/sdft.js';
import { repromptShape, successfulRollout } from '../distillation/sdpo.js';
import {
  privilegedShape,
  teacherLogProbs,
  teacherShape,
  teachersLogProbs,
  teachersShape,
} from '../distillation/teacher-log-probs.js';
import {
  isTokenTeacher,
  nameOfTeacher,
  type SelfTeacher,
  TOKEN_TEACHER,
  type TokenTeacher,
} from '../distillation/token-teacher.js';
import type { LossObjective } from '../loss-objective.js';
import { type IcePopOptions, icePop } from '../ratio/ice-pop.js';
import { raoBlackwellizedKl } from '../regulariser/rao-blackwellized-kl.js';
import { cispo } from '../surrogate/cispo.js';
import { clip, clipShape } from '../surrogate/clip.js';
import { unclipped } from '../surrogate/unclipped.js';
import type { AnyPolicyObjective, PolicyObjectiveParts } from './policy-objective.js';
import { type PretrainingLossOptions, pretrainingLoss } from './pretraining-loss.js';
import { noRatio, policyGradient, sequenceMean, sequenceSum, tokenMean, tokenRatio } from './simple-parts.js';

const opdOptions = options('on_policy_distillation', { ...teacherShape, ...outcomeShape });
/** Options of `policyObjectives.on_policy_distillation`. */
export type OnPolicyDistillationObjectiveOptions = Given<typeof opdOptions>;

const { delta: _, ...twoSidedShape } = clipShape;
const miniLlmPresetOptions = options('minillm', {
  ...teacherShape,
  ...twoSidedShape,
  ...miniLlmShape,
  /** Add the reverse KL of the next token, exactly over the vocabulary: its gradient needs no sample. Default true. */
  singleStepDecomposition: boolean({ default: true }),
  /** L_PT of the paper, the loss of plain texts beside: options of `pretrainingLoss`. Default: none. */
  pretraining: custom<PretrainingLossOptions>()(
    '{ rows, coefficient, batchSize, … }',
    (value) => typeof value === 'object' && value !== null,
    { optional: true, settings: (of) => pretrainingLoss(of).settings! },
  ),
});
/** Options of `policyObjectives.minillm`. */
export type MiniLlmObjectiveOptions = Given<typeof miniLlmPresetOptions>;

const mopdOptions = options('mopd', {
  ...teachersShape,
  ...outcomeShape,
  /** Drop tokens of which trainer and sampler think too differently. Default: none are. */
  icePop: custom<IcePopOptions>()('{ low, high }', (value) => typeof value === 'object' && value !== null, {
    optional: true,
    settings: (given) => ({ ...(given as Record<string, number>) }),
  }),
});
/** Options of `policyObjectives.mopd`. */
export type MopdOptions = Given<typeof mopdOptions>;

const opsdOptions = options('opsd', {
  ...privilegedShape,
  /** Who reads it. Default `live`: the student as it is now. */
  teacher: custom<TokenTeacher>()(TOKEN_TEACHER, isTokenTeacher, {
    default: 'live' as TokenTeacher,
    settings: nameOfTeacher,
  }),
  /** Multiplies the advantage. Default 1. */
  coefficient: number({ default: 1, above: 0 }),
  ...outcomeShape,
});
/** Options of `policyObjectives.opsd`. */
export type OpsdOptions = Given<typeof opsdOptions>;

const sdpoOptions = options('sdpo', {
  ...repromptShape,
  /** What is compared: tokens as they were sampled, or distributions. Default `sampled_token`, as in TRL. */
  distillationMode: oneOf(['sampled_token', 'logits'], { default: 'sampled_token' }),
  /** Who reads what is shown; `ema` with `logits` only. Default `live`: the student as it is now. */
  teacher: custom<CausalLM | SelfTeacher | 'ema'>()(
    "a CausalLM, 'live', 'base' or 'ema'",
    (value) => value === 'ema' || (isTokenTeacher(value) && !('scoreTokens' in Object(value))),
    {
      default: 'live' as CausalLM | SelfTeacher | 'ema',
      settings: (teacher) => (teacher === 'ema' ? teacher : nameOfTeacher(teacher)),
    },
  ),
  /** As of `sdft`; of `sampled_token` 1, the reverse KL. Default 1. */
  alpha: number({ default: 1, min: 0, max: 1 }),
  /** As of `sdft`, which has the default. */
  topK: integer({ optional: true, min: 1 }),
  /** The largest weight π / π_old of a token's loss. Default 2. */
  isClip: number({ default: 2, above: 0 }),
  /** As of `sdft`. Default 0.05. */
  teacherUpdateRate: number({ default: 0.05, above: 0, max: 1 }),
  /** As of `sdft`. Default 1. */
  teacherSyncSteps: integer({ default: 1, min: 1 }),
});
/** Options of `policyObjectives.sdpo`. */
export type SdpoOptions = Given<typeof sdpoOptions>;

const jBondOptions = options('j_bond', { ...bondShape, ...bondAnchorShape });
/** Options of `policyObjectives.j_bond`. */
export type JBondOptions = Given<typeof jBondOptions>;

/** Distillation on what the student samples, as compositions of the five parts (`sdft`: a loss of its own). */
export const distillationObjectives = {
  /**
   * On-policy distillation (Thinking Machines, 2025): each token's advantage is log π_T - log π_old, with the importance ratio and no clip,
   * and the mean over tokens. Rewards are logged; `outcome` makes an advantage of them too.
   */
  on_policy_distillation: (given: OnPolicyDistillationObjectiveOptions): PolicyObjectiveParts => {
    const { teacher, ...advantage } = opdOptions.read(given);
    return {
      name: 'on_policy_distillation',
      advantage: onPolicyDistillation(advantage),
      annotators: [teacherLogProbs({ teacher })],
      ratio: tokenRatio(),
      surrogate: unclipped(),
      aggregation: tokenMean(),
      regularisers: [reverseKlMetric()],
    };
  },
  /**
   * MiniLLM (arXiv 2306.08543), the reverse KL of whole completions: its reward-to-go by the clipped surrogate, and the single-step term
   * over the whole vocabulary; `pretraining` adds L_PT. TRL 1.9's MiniLLMTrainer is `{ gamma: 0, rewardToGo: 'token' }`. Teacher-mixed sampling is the
   * source's: `rollouts: singleTurn({ mix: teacherMixture({ teacher: { model } }) })`, with `truncatedImportance` around the ratio.
   */
  minillm: (given: MiniLlmObjectiveOptions): PolicyObjectiveParts => {
    const { teacher, singleStepDecomposition, pretraining, epsilon, epsilonHigh, ...advantage } =
      miniLlmPresetOptions.read(given);
    if (singleStepDecomposition && (typeof teacher === 'string' || 'scoreTokens' in teacher)) {
      const problem =
        'the single-step decomposition needs the teacher’s distributions, of a model that runs here (a CausalLM);';
      const remedy = "give one, or singleStepDecomposition: false and rewardToGo: 'token'.";
      throw new OptionError('INVALID_OPTION', 'minillm', 'teacher', `${problem} ${remedy}`);
    }
    return {
      name: 'minillm',
      advantage: miniLlm(advantage),
      annotators: [teacherLogProbs({ teacher })],
      ratio: tokenRatio(),
      surrogate: clip({ epsilon, ...(epsilonHigh !== undefined && { epsilonHigh }) }),
      aggregation: tokenMean(),
      regularisers: [
        reverseKlMetric(),
        ...(singleStepDecomposition ? [raoBlackwellizedKl({ beta: 1, reference: teacher as CausalLM })] : []),
      ],
      ...(pretraining && { beside: pretrainingLoss(pretraining) }),
    };
  },
  /**
   * J-BOND (arXiv 2407.14622 §5): the policy follows the best of two samples of an anchor, which follows the policy: half imitation of the
   * best one, half REINFORCE with the estimated quantile as the reward and the KL to the anchor. Needs no reference.
   */
  j_bond: (given: JBondOptions = {}): PolicyObjectiveParts => {
    const { n, beta, gamma, baseline, ...anchor } = jBondOptions.read(given);
    return {
      name: 'j_bond',
      advantage: bond({ n, beta, gamma, baseline }),
      annotators: [bondAnchor({ n, ...anchor })],
      ratio: noRatio(),
      surrogate: policyGradient(),
      aggregation: sequenceSum(),
    };
  },
  /**
   * Multi-teacher on-policy distillation (MOPD; MiMo-V2-Flash, arXiv 2601.02780; arXiv 2606.30406): specialists are merged into one student, each
   * completion being scored by the teacher of its domain (`route`), or by all. REINFORCE with sg[log π_T - log π_old] as the advantage, no ratio
   * and no clip, the mean over tokens. Teachers may be behind endpoints.
   */
  mopd: (given: MopdOptions): PolicyObjectiveParts => {
    const { teachers, route, icePop: bounds, ...advantage } = mopdOptions.read(given);
    return {
      name: 'mopd',
      advantage: onPolicyDistillation(advantage),
      annotators: [teachersLogProbs({ teachers, ...(route && { route }) })],
      ratio: bounds ? icePop(noRatio(), bounds) : noRatio(),
      surrogate: policyGradient(),
      aggregation: tokenMean(),
      regularisers: [reverseKlMetric()],
    };
  },
  /**
   * On-policy self-distillation (OPSD; `sampled_token` of TRL's SDFTTrainer, arXiv 2601.19897): the teacher is the student with a privileged prompt
   * in sight, and each token's advantage is how much likelier that makes it. REINFORCE, the mean over completions of the mean over tokens.
   */
  opsd: (given: OpsdOptions): PolicyObjectiveParts => {
    const { teacher, privileged, ...advantage } = opsdOptions.read(given);
    return {
      name: 'opsd',
      advantage: onPolicyDistillation(advantage),
      annotators: [teacherLogProbs({ teacher, privileged })],
      ratio: noRatio(),
      surrogate: policyGradient(),
      aggregation: sequenceMean(),
      regularisers: [reverseKlMetric()],
    };
  },
  /** Self-distillation fine-tuning (SDFT, arXiv 2601.19897) by distributions: see `sdft`. */
  sdft: (given: SdftOptions): LossObjective => sdft(given),
  /**
   * Self-distillation policy optimisation (SDPO, arXiv 2601.20802): the student learns from itself with a solution of its own group, and what the
   * environment says of the rollout, in sight (`successfulRollout`). `sampled_token` is `opsd` with that prompt and a weight π / π_old of at most
   * `isClip`, as in TRL but for the advantage, which is of the policy that sampled; `logits` is `sdft` with it. Completions of which there is nothing
   * to say count in the mean and teach nothing.
   */
  sdpo: (given: SdpoOptions = {}): AnyPolicyObjective => {
    const { distillationMode, teacher, alpha, topK, isClip, teacherUpdateRate, teacherSyncSteps, ...shown } =
      sdpoOptions.read(given);
    const privileged = successfulRollout(shown);
    if (distillationMode === 'logits') {
      const average = { teacherUpdateRate, teacherSyncSteps };
      const k = topK === undefined ? {} : { topK };
      return { ...sdft({ privileged, teacher, alpha, isClip, ...k, ...average }), name: 'sdpo' };
    }
    if (teacher === 'ema' || alpha !== 1) {
      const option = teacher === 'ema' ? 'teacher' : 'alpha';
      const problem = `${option} needs the teacher's distributions; give distillationMode: 'logits'.`;
      throw new OptionError('INVALID_OPTION', 'sdpo', option, problem);
    }
    return {
      name: 'sdpo',
      advantage: onPolicyDistillation(),
      annotators: [teacherLogProbs({ teacher, privileged })],
      ratio: tokenRatio(),
      surrogate: cispo({ epsilonHigh: isClip }),
      aggregation: sequenceMean(),
      regularisers: [reverseKlMetric()],
    };
  },
} as const;
