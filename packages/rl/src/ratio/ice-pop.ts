import { stopGradient } from '@posttrain/core-tensor';
import { type Given, number, OptionError, options } from '@posttrain/interfaces';
import type { Ratio } from './ratio.js';

const icePopOptions = options('icePop', {
  /** The smallest weight that is kept. Default 0.5. */
  low: number({ default: 0.5, min: 0 }),
  /** The largest weight that is kept. Default 5. */
  high: number({ default: 5, above: 0 }),
});
/** Options of `icePop`. */
export type IcePopOptions = Given<typeof icePopOptions>;

/**
 * IcePop (arXiv 2510.18855): the loss of each token is multiplied by w = π_old / π_sampler where `low` ≤ w ≤ `high`, and by 0 elsewhere: tokens of
 * which trainer and sampler think too differently teach nothing. As with `truncatedImportance`, `trainPolicy` needs
 * `oldLogProbs: 'recomputed'` for it, or a source that samples from something else.
 *
 * @throws OptionError
 */
export function icePop(ratio: Ratio, given: IcePopOptions = {}): Ratio {
  const { low, high } = icePopOptions.read(given);
  if (low > high) {
    throw new OptionError('INVALID_OPTION', 'icePop', 'low', `low is ${low}, above high, which is ${high}.`);
  }
  return {
    ...ratio,
    name: `ice-pop(${ratio.name})`,
    settings: { ...ratio.settings, ...icePopOptions.settings(given) },
    correct(logRatio) {
      const weights = stopGradient(logRatio.exp());
      const isKept = weights.greaterEqual(low).and(weights.lessEqual(high));
      return weights.mul(isKept.cast('float32'));
    },
  };
}
