import { type Given, number, options } from '@posttrain/interfaces';
import { type DecodingMix, logitsFrom } from '../decoding-mix.js';

const proxyTuningOptions = options('proxyTuning', {
  /** A small model that was tuned. */
  expert: logitsFrom(),
  /** The same small model before it was tuned. */
  antiExpert: logitsFrom(),
  /** α: how much of their difference is added. Default 1, as in the paper. */
  alpha: number({ default: 1 }),
});
/** Options of `proxyTuning`. */
export type ProxyTuningOptions = Given<typeof proxyTuningOptions>;

/**
 * Proxy-tuning (arXiv 2401.08565; DExperts, arXiv 2105.03023): the policy steered by what tuning has changed in a small model,
 *
 *   s(y) + α (s_expert(y) − s_antiExpert(y))
 *
 * with logits s.
 *
 * @throws OptionError
 */
export function proxyTuning(given: ProxyTuningOptions): DecodingMix {
  const { expert, antiExpert, alpha } = proxyTuningOptions.read(given);
  return {
    name: 'proxyTuning',
    settings: proxyTuningOptions.settings(given),
    models: [expert, antiExpert],
    combine: (policy, [more, less]) => policy.map((x, token) => x + alpha * (more![token]! - less![token]!)),
  };
}
