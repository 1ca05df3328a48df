import { logSigmoid, type Tensor } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { type RankedLogProbs, type RankedLoss, sumTogether } from './ranked-loss.js';

const mdpoOptions = options('mdpoLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
});
/** Options of `mdpoLoss`. */
export type MdpoLossOptions = Given<typeof mdpoOptions>;

/**
 * The mean of h = log π(y) - log π_ref(y) over the completions of a prompt that have the best score, less its mean over the others;
 * [n], once for each completion of the prompt.
 */
export function groupMargin({ logProbs, reference, together, ahead }: RankedLogProbs): Tensor {
  const h = logProbs.sub(reference);
  // Nobody is ahead of the best.
  const isBest = ahead.sum(0).minimum(1).neg().add(1);
  const mean = (mask: Tensor) => sumTogether(together, h.mul(mask)).div(sumTogether(together, mask).maximum(1));
  return mean(isBest).sub(mean(isBest.neg().add(1)));
}

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
    compute: (completions) => perCompletion(logSigmoid(groupMargin(completions).mul(beta)).neg(), completions),
  };
}
