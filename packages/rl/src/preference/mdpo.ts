import { logSigmoid, type Tensor } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { type RankedLogProbs, type RankedLoss, sumTogether } from './ranked-loss.js';

const mdpoOptions = options('mdpoLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `mdpoLoss`. */
export type MdpoLossOptions = Given<typeof mdpoOptions>;

/** Both groups of a prompt, [n] once for each completion of it: those that have the best score, and all others. */
export function groupsOf({ logProbs, reference, together, ahead }: RankedLogProbs) {
  const h = logProbs.sub(reference);
  // Nobody is ahead of the best.
  const isBest = ahead.sum(0).minimum(1).neg().add(1);
  return [isBest, isBest.neg().add(1)].map((mask) => {
    const count = sumTogether(together, mask);
    const mean = sumTogether(together, h.mul(mask)).div(count.maximum(1));
    return { h, mask, count, mean };
  }) as [best: ScoredGroup, others: ScoredGroup];
}

/** h = log π(y) - log π_ref(y) of completions, which of them are in the group, how many of the prompt are, and the mean of their h. */
export type ScoredGroup = Readonly<Record<'h' | 'mask' | 'count' | 'mean', Tensor>>;

/** The loss of a prompt, shared out among its completions. */
export const perCompletion = (losses: Tensor, { together }: RankedLogProbs): Tensor =>
  losses.div(together.sum(1).maximum(1));

/**
 * Multi-sample DPO (arXiv 2410.12138): a group of completions is compared with a group, -log σ(β(mean_w h - mean_l h)) with h = log π(y) -
 * log π_ref(y), where w are the completions of a prompt that have the best score and l all others. One of each is DPO.
 */
export function mdpoLoss(given: MdpoLossOptions = {}): RankedLoss {
  const { beta } = mdpoOptions.read(given);
  return {
    kind: 'ranked',
    name: 'mdpo',
    settings: mdpoOptions.settings(given),
    beta,
    compute(completions) {
      const [best, others] = groupsOf(completions);
      return perCompletion(logSigmoid(best.mean.sub(others.mean).mul(beta)).neg(), completions);
    },
  };
}
