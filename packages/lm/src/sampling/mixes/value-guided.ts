import { type Given, number, options } from '@posttrain/interfaces';
import { type DecodingMix, logitsFrom } from '../decoding-mix.js';

const valueGuidedOptions = options('valueGuided', {
  /**
   * A model whose output layer gives Q of every token: what is to be expected when it comes next. A head on the policy's own
   * states is the policy with its matrix as `lm_head.weight`.
   */
  q: logitsFrom(),
  /** λ: what a unit of value is worth, in nats. Default 1. */
  lambda: number({ default: 1 }),
});
/** Options of `valueGuided`. */
export type ValueGuidedOptions = Given<typeof valueGuidedOptions>;

/**
 * Value-guided (controlled) decoding (arXiv 2310.17022 §3; ILQL, arXiv 2206.11871): the policy tilted by what is to be expected
 * after each token,
 *
 *   s(y) + λ Q(y)
 *
 * which is π(y) exp(λ Q(y)) up to a factor: the optimum of E[Q] − KL(· ‖ π) / λ at every token.
 *
 * @throws OptionError
 */
export function valueGuided(given: ValueGuidedOptions): DecodingMix {
  const { q, lambda } = valueGuidedOptions.read(given);
  return {
    name: 'valueGuided',
    settings: valueGuidedOptions.settings(given),
    models: [q],
    combine: (policy, [values]) => policy.map((x, token) => x + lambda * values![token]!),
  };
}
