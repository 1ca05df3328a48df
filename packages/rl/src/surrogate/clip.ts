import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import type { Surrogate } from './surrogate.js';

export interface ClipOptions {
  /** How far below 1 the ratio may fall and still count. Default 0.2. */
  readonly epsilon?: number;
  /** How far above 1 it may rise ("clip-higher", DAPO, arXiv 2503.14476). Default: epsilon. */
  readonly epsilonHigh?: number;
  /** Upper bound of the ratio whatever the sign of the advantage (two-sided clip, INTELLECT-2). Default: none. */
  readonly delta?: number;
}

export const CLIP_OPTIONS = ['epsilon', 'epsilonHigh', 'delta'] as const;

/** The clipped surrogate of PPO (arXiv 1707.06347): -min(min(ρ, δ) A, clip(ρ, 1-ε, 1+ε_high) A). */
export function clip(options: ClipOptions = {}): Surrogate {
  assertKnownOptions('clip', options, CLIP_OPTIONS);
  const { epsilon = 0.2, epsilonHigh = epsilon, delta } = options;
  if (!(epsilon >= 0 && epsilon < 1)) fail('epsilon', 'in [0, 1)', epsilon);
  if (!(epsilonHigh >= 0)) fail('epsilonHigh', '0 or more', epsilonHigh);
  if (delta !== undefined && !(delta > 1 + epsilonHigh))
    fail('delta', `above 1 + epsilonHigh = ${1 + epsilonHigh}`, delta);
  const [lowest, highest] = [1 - epsilon, 1 + epsilonHigh];
  return {
    name: 'clip',
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

function fail(option: string, range: string, value: number): never {
  throw new PosttrainError('CLIP', `clip: ${option} must be ${range}, not ${value}`);
}
