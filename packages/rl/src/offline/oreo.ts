import { stopGradient, type Tensor } from '@posttrain/core-tensor';
import { custom, type Given, number, OptionError, options } from '@posttrain/interfaces';
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

const policyOptions = options('oreoPolicy', {
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
  /** β of the policy loss. Default 0.03. */
  beta,
});
/** Options of `oreoValue`. */
export type OreoValueOptions = Given<typeof valueOptions>;

/** Log-ratios of the tokens that are actions: those with a weight. */
const ofActions = (logRatios: Tensor, weights: Tensor): Tensor => logRatios.mul(weights.notEqual(0).cast('float32'));

/**
 * The policy loss of OREO (Offline Reasoning Optimization, arXiv 2412.16145), token by token: the soft Bellman equation
 * Σ w (V(s_t) - R_t + β ℓ_t + sg[β Σ_{i > t} ℓ_i])² + α Σ w KL(π ‖ π_ref)(s_t), with ℓ = log π / π_ref and R_t = Σ_{i
 * ≥ t} r_i.
 *
 * Rows are trajectories of any policy, packed or not. Weights are not 0 at actions: 1 / (rows of the step · actions
 * of the row) for the paper's means. Annotations, one a prediction: `reference_log_probs` log π_ref, `values` V(s_t)
 * of the state before the action, `rewards` r_t. Metrics: `residual`, the weighted mean of the residual, and `kl`
 * where alpha is not 0.
 *
 * @throws OptionError
 */
export function oreoPolicy(given: OreoPolicyOptions = {}): Loss {
  const { beta: strength, alpha, reference } = policyOptions.read(given);
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
    annotations: ['reference_log_probs', 'values', 'rewards'],
    computeFrom(read, { weights, segments, annotations }) {
      const { reference_log_probs, values, rewards } = annotations;
      const logRatios = ofActions(read(predictions()).logProbs.sub(reference_log_probs!), weights);
      const later = stopGradient(suffixSums(logRatios, segments, { exclusive: true }));
      const residual = values!.sub(suffixSums(rewards!, segments)).add(logRatios.add(later).mul(strength));
      const loss = weightedSum(residual.square(), weights);
      const metrics = { residual: weightedSum(residual, weights) };
      if (!kl) return { loss, metrics };
      const distance = weightedSum(read(kl), weights);
      return { loss: loss.add(distance.mul(alpha)), metrics: { ...metrics, kl: distance } };
    },
  };
}

/**
 * The value loss of OREO (arXiv 2412.16145): Σ w (V(s_t) - R_t + β Σ_{i ≥ t} ℓ_i)², for a `ValueModel`. The
 * annotation `log_ratios` has ℓ = log π / π_ref under the policy as it is; `rewards` and weights are those of
 * `oreoPolicy`.
 *
 * @throws OptionError
 */
export function oreoValue(given: OreoValueOptions = {}): Loss {
  const { beta: strength } = valueOptions.read(given);
  return {
    name: 'oreo-value',
    annotations: ['log_ratios', 'rewards'],
    computeFrom(read, { weights, segments, annotations }) {
      const { log_ratios, rewards } = annotations;
      const values = read(tokenValues).slice(1, 0, weights.shape[1]!);
      const toCome = suffixSums(ofActions(log_ratios!, weights), segments).mul(strength);
      const residual = values.sub(suffixSums(rewards!, segments)).add(toCome);
      return { loss: weightedSum(residual.square(), weights), metrics: { residual: weightedSum(residual, weights) } };
    },
  };
}
