import { type Given, number, OptionError, options } from '@posttrain/interfaces';
import type { Surrogate } from './surrogate.js';

export const clipShape = {
  /** How far below 1 the ratio may fall and still count. Default 0.2. */
  epsilon: number({ default: 0.2, min: 0, below: 1 }),
  /** How far above 1 it may rise ("clip-higher", DAPO, arXiv 2503.14476). Default: epsilon. */
  epsilonHigh: number({ optional: true, min: 0 }),
  /** Upper bound of the ratio whatever the sign of the advantage (two-sided clip, INTELLECT-2). Default: none. */
  delta: number({ optional: true }),
};
const clipOptions = options('clip', clipShape);
/** Options of `clip`. */
export type ClipOptions = Given<typeof clipOptions>;

/** The clipped surrogate of PPO (arXiv 1707.06347): -min(min(ρ, δ) A, clip(ρ, 1-ε, 1+ε_high) A). */
export function clip(given: ClipOptions = {}): Surrogate {
  const { epsilon, epsilonHigh = epsilon, delta } = clipOptions.read(given);
  if (delta !== undefined && !(delta > 1 + epsilonHigh)) {
    const problem = `delta must be above 1 + epsilonHigh = ${1 + epsilonHigh}, not ${delta}.`;
    throw new OptionError('INVALID_OPTION', 'clip', 'delta', problem);
  }
  const [lowest, highest] = [1 - epsilon, 1 + epsilonHigh];
  return {
    name: 'clip',
    settings: clipOptions.settings(given),
    needsRatio: true,
    compute({ ratio, advantages }) {
      const bounded = ratio.clamp(undefined, delta);
      const clamped = ratio.clamp(lowest, highest);
      return {
        loss: bounded.mul(advantages).minimum(clamped.mul(advantages)).neg(),
        clipped: {
          low: ratio.less(lowest).and(advantages.less(0)),
          high: ratio.greater(highest).and(advantages.greater(0)),
        },
      };
    },
  };
}
