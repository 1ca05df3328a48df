import { stopGradient, type Tensor, where } from '@posttrain/core-tensor';
import { custom, type Given, number, OptionError, oneOf, options } from '@posttrain/interfaces';
import {
  divergence,
  type Loss,
  predictions,
  suffixSums,
  type TeacherModel,
  tokenValues,
  weightedSum,
} from '@posttrain/training';

const beta = number({ default: 0.03, above: 0 });

const levelOption = {
  /**
   * What an action is: a token, or all tokens that the annotation `steps` has one number for, which only the first of them has a weight of
   * (`oreoSteps` makes both). One step for the whole response is the response-level variant. Default `token`.
   */
  level: oneOf(['token', 'step'], { default: 'token' }),
};

const policyOptions = options('oreoPolicy', {
  ...levelOption,
  /** β, how strongly the policy is held to the reference. Default 0.03. */
  beta,
  /** α, what the mean KL(π ‖ π_ref) counts beside the residuals. Default 0: not at all. */
  alpha: number({ default: 0, min: 0 }),
  /** π_ref, for the KL over the whole vocabulary. Needed where alpha is not 0. */
  reference: custom<TeacherModel>()(
    'a model: { network, weights }',
    (value) => typeof value === 'object' && value !== null && 'network' in value && 'weights' in value,
    { optional: true, decisive: false },
  ),
});
/** Options of `oreoPolicy`. */
export type OreoPolicyOptions = Given<typeof policyOptions>;

const valueOptions = options('oreoValue', {
  ...levelOption,
  /** β of the policy loss. Default 0.03. */
  beta,
});
/** Options of `oreoValue`. */
export type OreoValueOptions = Given<typeof valueOptions>;

/** Which step of which sequence of its row a prediction is of; 0: of none. */
const MOST_STEPS = 65_536;
const stepOf = (steps: Tensor, segments: Tensor): Tensor => {
  const of = segments.slice(1, 0, steps.shape[1]!).mul(MOST_STEPS).add(steps);
  return where(steps.greater(0), of, 0);
};

/** 1 for the tokens that are actions, or parts of one: those with a weight, or in a step. */
const actionsOf = (weights: Tensor, steps: Tensor | undefined): Tensor =>
  (steps ? steps.greater(0) : weights.notEqual(0)).cast('float32');

const STEPS = { name: 'steps', per: 'prediction', dtype: 'int32' } as const;

/**
 * Steps of a completion as OREO's actions: entry t is the number, from 1, of the step that token t is of, and `isStart` where one begins. A step ends
 * with one of `stepTokens`; without any the completion is one step.
 */
export function oreoSteps(
  completionTokens: readonly number[],
  stepTokens: readonly number[] = [],
): { readonly steps: readonly number[]; readonly isStart: readonly boolean[] } {
  const isStart = completionTokens.map((_, t) => t === 0 || stepTokens.includes(completionTokens[t - 1]!));
  let step = 0;
  return { steps: isStart.map((starts) => (starts ? ++step : step)), isStart };
}

/**
 * The policy loss of OREO (Offline Reasoning Optimization, arXiv 2412.16145), action by action: the soft Bellman equation
 * Σ w (V(s_t) - R_t + β ℓ_t + sg[β Σ_{i > t} ℓ_i])² + α Σ w KL(π ‖ π_ref)(s_t), with ℓ = log π / π_ref and R_t = Σ_{i
 * ≥ t} r_i. With `level: 'step'` ℓ_t and the KL are the sums over the tokens of the step that begins at t; of one step for the
 * whole response it is (V(x) - R + β log π(y|x) / π_ref(y|x))², whose difference between two responses of a prompt is DPO's margin.
 *
 * Rows are trajectories of any policy, packed or not. Weights are not 0 at actions, of steps at their first token: 1 / (rows of the step · actions
 * of the row) for the paper's means. Annotations, one a prediction: `reference_log_probs` log π_ref, `values` V(s_t)
 * of the state before the action, `rewards` r_t, and of steps `steps`. Metrics: `residual`, the weighted mean of the residual, and `kl`
 * where alpha is not 0.
 *
 * @throws OptionError
 */
export function oreoPolicy(given: OreoPolicyOptions = {}): Loss {
  const { beta: strength, alpha, reference, level } = policyOptions.read(given);
  if (alpha > 0 && !reference) {
    throw new OptionError(
      'INVALID_OPTION',
      'oreoPolicy',
      'reference',
      'alpha is not 0, so the KL needs a reference model.',
    );
  }
  const kl = reference && alpha > 0 ? divergence({ teacher: reference, beta: 1 }) : undefined;
  return {
    name: 'oreo-policy',
    annotations: ['reference_log_probs', 'values', 'rewards', ...(level === 'step' ? [STEPS] : [])],
    computeFrom(read, { weights, segments, annotations }) {
      const { reference_log_probs, values, rewards, steps } = annotations;
      const actions = actionsOf(weights, steps);
      const each = read(predictions()).logProbs.sub(reference_log_probs!).mul(actions);
      const overStep = (x: Tensor) => (steps ? suffixSums(x, stepOf(steps, segments)) : x);
      const logRatios = overStep(each);
      const later = steps
        ? stopGradient(suffixSums(each, segments).sub(logRatios))
        : stopGradient(suffixSums(each, segments, { exclusive: true }));
      const residual = values!.sub(suffixSums(rewards!, segments)).add(logRatios.add(later).mul(strength));
      const loss = weightedSum(residual.square(), weights);
      const metrics = { residual: weightedSum(residual, weights) };
      if (!kl) return { loss, metrics };
      const distance = weightedSum(overStep(read(kl).mul(actions)), weights);
      return { loss: loss.add(distance.mul(alpha)), metrics: { ...metrics, kl: distance } };
    },
  };
}

/**
 * The value loss of OREO (arXiv 2412.16145): Σ w (V(s_t) - R_t + β Σ_{i ≥ t} ℓ_i)², for a `ValueModel`. The
 * annotation `log_ratios` has ℓ = log π / π_ref under the policy as it is; `rewards`, weights and `steps` are those of
 * `oreoPolicy`.
 *
 * @throws OptionError
 */
export function oreoValue(given: OreoValueOptions = {}): Loss {
  const { beta: strength, level } = valueOptions.read(given);
  return {
    name: 'oreo-value',
    annotations: ['log_ratios', 'rewards', ...(level === 'step' ? [STEPS] : [])],
    computeFrom(read, { weights, segments, annotations }) {
      const { log_ratios, rewards, steps } = annotations;
      const values = read(tokenValues).slice(1, 0, weights.shape[1]!);
      const toCome = suffixSums(log_ratios!.mul(actionsOf(weights, steps)), segments).mul(strength);
      const residual = values.sub(suffixSums(rewards!, segments)).add(toCome);
      return { loss: weightedSum(residual.square(), weights), metrics: { residual: weightedSum(residual, weights) } };
    },
  };
}
