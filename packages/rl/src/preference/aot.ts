import type { Tensor } from '@posttrain/core-tensor';
import { type Given, number, options } from '@posttrain/interfaces';
import { smoothedLogistic } from './log-ratios.js';
import type { PreferenceLoss } from './preference-loss.js';

/** Declared options of both forms. */
export const aotOptions = options('aotLoss', {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta: number({ default: 0.1, above: 0 }),
  /** ε, the share of labels that are taken to be wrong. Default 0. */
  labelSmoothing: number({ default: 0, min: 0, below: 0.5 }),
});
/** Options of `aotLoss` and `aotUnpairedLoss`. */
export type AotLossOptions = Given<typeof aotOptions>;

/** Largest first. */
export const sorted = (values: Tensor): Tensor => values.topK(values.shape[0]!).values;

/**
 * Alignment via Optimal Transport, for pairs (arXiv 2406.05882): over all pairs of a step, the sorted margins of the policy are held
 * against the sorted margins of the reference, -(1 - ε) log σ(βd) - ε log σ(-βd) with d_i = sort(log π(y_w) - log π(y_l))_i -
 * sort(log π_ref(y_w) - log π_ref(y_l))_i. Sorting couples the pairs, so that a step takes two passes.
 */
export function aotLoss(given: AotLossOptions = {}): PreferenceLoss {
  const { beta, labelSmoothing } = aotOptions.read(given);
  return {
    name: 'aot',
    settings: aotOptions.settings(given),
    beta,
    coupled: true,
    compute({ chosen, rejected, referenceChosen, referenceRejected }) {
      const x = sorted(chosen.sub(rejected))
        .sub(sorted(referenceChosen.sub(referenceRejected)))
        .mul(beta);
      return smoothedLogistic(x, labelSmoothing);
    },
  };
}
