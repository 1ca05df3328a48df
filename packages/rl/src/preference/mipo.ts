import type { Tensor } from '@posttrain/core-tensor';
import { type Given, number, oneOf, options } from '@posttrain/interfaces';
import { groupsOf, perCompletion, type ScoredGroup } from './mdpo.js';
import { type RankedLogProbs, type RankedLoss, sumTogether } from './ranked-loss.js';

const mipoOptions = options('mipoLoss', {
  /** τ of IPO: the means of the log-ratios of both groups are to differ by 1/(2β). Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** `unbiased` takes the variance of both sample means off the square; `plain` leaves it in. Default `unbiased`. */
  estimator: oneOf(['unbiased', 'plain'], { default: 'unbiased' }),
});
/** Options of `mipoLoss`. */
export type MipoLossOptions = Given<typeof mipoOptions>;

/**
 * Multi-sample IPO (arXiv 2410.12138): (E_w h - E_l h - 1/(2β))² with h = log π(y) - log π_ref(y), summed over tokens, where w are the
 * completions of a prompt that have the best score and l all others, n_w and n_l of them. The square of sample means expects the variance of
 * both means too, so that its gradient also makes the groups alike within; the unbiased estimator takes it off again,
 *
 *   (mean_w h - mean_l h - 1/(2β))² - s_w² / n_w - s_l² / n_l
 *
 * with s² the sample variances (over n - 1). Among those that do not see an order it is the only unbiased one, and so the one of least
 * variance. It can be negative. Of a group of one there is no variance to be known, and none is taken off: one of each is IPO with sums.
 */
export function mipoLoss(given: MipoLossOptions = {}): RankedLoss {
  const { beta, estimator } = mipoOptions.read(given);
  return {
    kind: 'ranked',
    name: 'mipo',
    settings: mipoOptions.settings(given),
    beta,
    compute(completions) {
      const [best, others] = groupsOf(completions);
      const square = best.mean
        .sub(others.mean)
        .sub(1 / (2 * beta))
        .square();
      if (estimator === 'plain') return perCompletion(square, completions);
      const variances = varianceOfMean(best, completions).add(varianceOfMean(others, completions));
      return perCompletion(square.sub(variances), completions);
    },
  };
}

/** s² / n, [n] once for each completion of the prompt; 0 of one. */
function varianceOfMean({ h, mask, count, mean }: ScoredGroup, { together }: RankedLogProbs): Tensor {
  const apart = sumTogether(together, h.sub(mean).square().mul(mask));
  return apart.div(count.maximum(1)).div(count.sub(1).maximum(1));
}
