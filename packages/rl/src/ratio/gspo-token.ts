import { stopGradient } from '@posttrain/core-tensor';
import type { Ratio } from './ratio.js';

/**
 * The ratio of GSPO-token (arXiv 2507.18071, eq. 14): s_t = sg[s] π(o_t) / sg[π(o_t)], whose value is that of `sequenceRatio`, s = (π(o) / π_old(o))^(1/|o|),
 * and whose gradient is the token's own, so that tokens of one completion may have different advantages. With one for all it is GSPO.
 */
export function gspoTokenRatio(): Ratio {
  return {
    name: 'gspo-token',
    settings: {},
    level: 'sequence',
    compute(logRatio, mask) {
      const fixed = stopGradient(logRatio);
      const mean = fixed.sum(1, { keepDims: true }).div(mask.sum(1, { keepDims: true }).maximum(1));
      return mean.broadcastTo(logRatio.shape).add(logRatio.sub(fixed)).exp();
    },
  };
}
