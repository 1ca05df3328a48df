import type { Ratio } from './ratio.js';

/** ρ = (π(o) / π_old(o))^(1/|o|): the geometric mean over the completion's tokens (GSPO, arXiv 2507.18071). */
export function sequenceRatio(): Ratio {
  return {
    name: 'sequence',
    settings: {},
    level: 'sequence',
    compute(logRatio, mask) {
      const length = mask.sum(1, { keepDims: true }).maximum(1);
      return logRatio.sum(1, { keepDims: true }).div(length).exp().broadcastTo(logRatio.shape);
    },
  };
}
