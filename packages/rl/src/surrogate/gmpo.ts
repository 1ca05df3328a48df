import { where } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import type { Surrogate } from './surrogate.js';

export const gmpoShape = {
  /** How far below 0 the log-ratio of a token may fall and still count. Default 0.4. */
  epsilon: number({ default: 0.4, min: 0 }),
  /** How far above 0. Default: epsilon. */
  epsilonHigh: number({ optional: true, min: 0 }),
};
const gmpoOptions = options('gmpo', gmpoShape);
/** Options of `gmpo`. */
export type GmpoOptions = Given<typeof gmpoOptions>;

/**
 * GMPO (arXiv 2507.20673): -A · exp(mean_t clip(log ρ_t, -ε, ε_high)), the geometric mean of the tokens' ratios, each clipped on the side that its
 * advantage pulls to. One advantage for a completion. To be averaged over completions (`sequenceMean`).
 *
 * @throws OptionError
 */
export function gmpo(given: GmpoOptions = {}): Surrogate {
  const { epsilon, epsilonHigh = epsilon } = gmpoOptions.read(given);
  return {
    name: 'gmpo',
    settings: gmpoOptions.settings(given),
    // It has the clip inside of its mean, and so makes its own.
    needsRatio: false,
    level: 'sequence',
    compute({ logProbs, oldLogProbs, advantages, mask }) {
      const logRatio = logProbs.sub(oldLogProbs).mul(mask);
      const clamped = logRatio.clamp(-epsilon, epsilonHigh);
      const clipped = where(advantages.less(0), logRatio.maximum(clamped), logRatio.minimum(clamped));
      const length = mask.sum(1, { keepDims: true }).maximum(1);
      const ratio = clipped.sum(1, { keepDims: true }).div(length).exp().broadcastTo(logRatio.shape);
      return {
        loss: ratio.mul(advantages).neg(),
        clipped: {
          low: logRatio.less(-epsilon).and(advantages.less(0)),
          high: logRatio.greater(epsilonHigh).and(advantages.greater(0)),
        },
      };
    },
  };
}
