import { custom, type Given, number, options } from '@posttrain/interfaces';
import { divergence, type TeacherModel, weightedSum } from '@posttrain/training';
import type { Regulariser } from './regulariser.js';

const raoBlackwellizedKlOptions = options('raoBlackwellizedKl', {
  /** Weight of the penalty. */
  beta: number({ min: 0 }),
  /** π_ref: a model with the policy's vocabulary, as it is. The base model of an adapter is one. */
  reference: custom<TeacherModel & { readonly name?: string }>()(
    'a model with a network and weights, such as a CausalLM',
    (value) => typeof value === 'object' && value !== null && 'network' in value && 'weights' in value,
    { settings: ({ name }) => name ?? 'model' },
  ),
});
/** Options of `raoBlackwellizedKl`. */
export type RaoBlackwellizedKlOptions = Given<typeof raoBlackwellizedKlOptions>;

/**
 * + β Σ_t w_t KL(π(· | s_t) ‖ π_ref(· | s_t)) over the whole vocabulary, the Rao–Blackwellised estimator of the KL divergence (arXiv
 * 2504.10637): of the states that were sampled the divergence of what comes next is exact, where `klInLoss` has one drawn token, so its
 * variance is never larger. As there the gradient is that of these terms, and not of which states are reached. The reference
 * runs in the same pass; logits exist for a chunk of the vocabulary at a time. Metric: `kl`, the mean over trained tokens.
 *
 * @throws OptionError
 */
export function raoBlackwellizedKl(given: RaoBlackwellizedKlOptions): Regulariser {
  const { beta, reference } = raoBlackwellizedKlOptions.read(given);
  return {
    name: 'rao-blackwellized-kl',
    settings: raoBlackwellizedKlOptions.settings(given),
    needsReference: false,
    needsPass: true,
    compute({ pass, weights, tokenMean, temperature }) {
      const kl = pass!.read(divergence({ teacher: reference, beta: 1, temperature }));
      return { loss: weightedSum(kl, weights).mul(beta), metrics: { kl: weightedSum(kl, tokenMean) } };
    },
  };
}
