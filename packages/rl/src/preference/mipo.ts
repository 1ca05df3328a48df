import { type Given, number, options } from '@posttrain/interfaces';
import { groupMargin, perCompletion } from './mdpo.js';
import type { RankedLoss } from './ranked-loss.js';

const mipoOptions = options('mipoLoss', {
  /** τ of IPO: the means of the log-ratios of both groups are to differ by 1/(2β). Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `mipoLoss`. */
export type MipoLossOptions = Given<typeof mipoOptions>;

/**
 * Multi-sample IPO (arXiv 2410.12138): (mean_w h - mean_l h - 1/(2β))² with h = log π(y) - log π_ref(y), summed over tokens, where w are
 * the completions of a prompt that have the best score and l all others. One of each is IPO with sums. It is the plain square of
 * sample means, whose expectation has their variance in it; the paper's unbiased estimator is another loss.
 */
export function mipoLoss(given: MipoLossOptions = {}): RankedLoss {
  const { beta } = mipoOptions.read(given);
  return {
    kind: 'ranked',
    name: 'mipo',
    settings: mipoOptions.settings(given),
    beta,
    compute: (completions) =>
      perCompletion(
        groupMargin(completions)
          .sub(1 / (2 * beta))
          .square(),
        completions,
      ),
  };
}
