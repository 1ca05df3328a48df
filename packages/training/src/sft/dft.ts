import { stopGradient } from '@posttrain/core-tensor';
import { negativeLogLikelihood, type TokenLoss, weightedSum } from '../loss/token-loss.js';

/**
 * Dynamic fine-tuning (DFT, arXiv 2508.05629, eq. 9; TRL's `loss_type: "dft"`): Σ w · sg(p) · (-log p). The factor p, without a gradient,
 * takes away the 1 / p that makes unlikely tokens weigh so much in supervised fine-tuning. An option `loss` of `sft`; with w = mask /
 * number of trained tokens it is a mean over them. Its metrics are those of `negativeLogLikelihood`.
 */
export const dynamicFineTuning: TokenLoss = {
  name: 'dft',
  annotations: [],
  compute(inputs) {
    const { logProbs, weights } = inputs;
    const { metrics } = negativeLogLikelihood.compute(inputs);
    return { loss: weightedSum(stopGradient(logProbs.exp()).mul(logProbs).neg(), weights), metrics };
  },
};
