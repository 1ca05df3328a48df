import { type Given, number, oneOf, options } from '@posttrain/interfaces';
import { weightedSum } from '@posttrain/training';
import type { Regulariser } from './regulariser.js';

export const squaredLogRatioShape = {
  /** τ: weight of the penalty. */
  tau: number({ min: 0 }),
  /** What the ratio is of: each token (DRO, prime-rl), or the whole completion (Kimi k1.5). Default `token`. */
  level: oneOf(['token', 'sequence'], { default: 'token' }),
};
const squaredLogRatioOptions = options('squaredLogRatio', squaredLogRatioShape);
/** Options of `squaredLogRatio`. */
export type SquaredLogRatioOptions = Given<typeof squaredLogRatioOptions>;

/**
 * + τ/2 · (log π - log π_old)² in the loss, aggregated as the surrogate is: a pull to the policy that sampled, of the tokens (DRO, arXiv
 * 2405.19107) or of completions (the mirror descent of Kimi k1.5, arXiv 2501.12599, eq. 3). Of a sequence each token has the share log ρ_t · log ρ.
 *
 * @throws OptionError
 */
export function squaredLogRatio(given: SquaredLogRatioOptions): Regulariser {
  const { tau, level } = squaredLogRatioOptions.read(given);
  return {
    name: `squared-log-ratio(${level})`,
    settings: squaredLogRatioOptions.settings(given),
    needsReference: false,
    compute({ logProbs, oldLogProbs, weights, tokenMean }) {
      // Both are 0 outside of the trained tokens.
      const own = logProbs.sub(oldLogProbs);
      const whole = level === 'sequence' ? own.sum(1, { keepDims: true }).broadcastTo(own.shape) : own;
      const squared = own.mul(whole);
      return {
        loss: weightedSum(squared, weights).mul(tau / 2),
        metrics: { squared_log_ratio: weightedSum(squared, tokenMean) },
      };
    },
  };
}
