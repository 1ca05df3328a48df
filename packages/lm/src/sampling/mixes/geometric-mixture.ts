import { type Given, number, options } from '@posttrain/interfaces';
import { type DecodingMix, logitsFrom } from '../decoding-mix.js';
import { logSoftmax } from '../log-softmax.js';

const geometricMixtureOptions = options('geometricMixture', {
  /** The other model; or the policy itself, with another adapter. */
  other: logitsFrom(),
  /** α: the other's share. 0: the policy alone, 1: the other alone. Default 0.5. */
  alpha: number({ default: 0.5, min: 0, max: 1 }),
});
/** Options of `geometricMixture`. */
export type GeometricMixtureOptions = Given<typeof geometricMixtureOptions>;

/**
 * The geometric mixture of two models, token by token (the opponent of Nash-MD, arXiv 2312.00886 §6):
 *
 *   (1 − α) log p(y) + α log p_other(y)
 *
 * up to a constant: of all distributions the one with the least (1 − α) KL(· ‖ p) + α KL(· ‖ p_other).
 *
 * @throws OptionError
 */
export function geometricMixture(given: GeometricMixtureOptions): DecodingMix {
  const { other, alpha } = geometricMixtureOptions.read(given);
  return {
    name: 'geometricMixture',
    settings: geometricMixtureOptions.settings(given),
    models: [other],
    combine(policy, [theirs]) {
      const others = logSoftmax(theirs!);
      // 0 · −∞ of a token that one of them excludes, and that has no share.
      const share = (logProb: number, weight: number) => (weight === 0 ? 0 : weight * logProb);
      return logSoftmax(policy).map((own, token) => share(own, 1 - alpha) + share(others[token]!, alpha));
    },
  };
}
