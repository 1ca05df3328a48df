import type { Ratio } from './ratio.js';

/** ρ = π(o) / π_old(o): the ratio of whole completions (RLOO in TRL), the exact importance weight. */
export function sequenceSumRatio(): Ratio {
  return {
    name: 'sequence-sum',
    settings: {},
    level: 'sequence',
    compute: (logRatio) => logRatio.sum(1, { keepDims: true }).exp().broadcastTo(logRatio.shape),
  };
}
