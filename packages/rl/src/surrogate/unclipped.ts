import type { Surrogate } from './surrogate.js';

/**
 * The surrogate that is not clipped: -ρ A (TRPO, arXiv 1502.05477, eq. 14), for updates that bound the change of the
 * policy themselves.
 */
export function unclipped(): Surrogate {
  return {
    name: 'unclipped',
    settings: {},
    needsRatio: true,
    compute: ({ ratio, advantages }) => ({ loss: ratio.mul(advantages).neg() }),
  };
}
