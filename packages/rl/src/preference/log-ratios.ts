import { logSigmoid, type Tensor } from '@posttrain/core-tensor';
import type { PairLogProbs } from './preference-loss.js';

/** What the losses of pairs are functions of, float32 [p] each. */
interface LogRatios {
  readonly chosen: Tensor;
  readonly rejected: Tensor;
  /** Of the chosen less that of the rejected completion. */
  readonly margin: Tensor;
}

const withMargin = (chosen: Tensor, rejected: Tensor): LogRatios => ({
  chosen,
  rejected,
  margin: chosen.sub(rejected),
});

/** h = log π(y) - log π_ref(y) of both completions, and h_w - h_l. */
export const logRatios = ({ chosen, rejected, referenceChosen, referenceRejected }: PairLogProbs): LogRatios =>
  withMargin(chosen.sub(referenceChosen), rejected.sub(referenceRejected));

/** h / |y|: log-ratios as means over the tokens of a completion. */
export function meanLogRatios(pairs: PairLogProbs): LogRatios {
  const { chosen, rejected } = logRatios(pairs);
  return withMargin(chosen.div(pairs.chosenLengths), rejected.div(pairs.rejectedLengths));
}

/** -(1 - ε) log σ(x) - ε log σ(-x). */
export const smoothedLogistic = (x: Tensor, epsilon: number): Tensor => {
  const losses = logSigmoid(x).mul(epsilon - 1);
  return epsilon === 0 ? losses : losses.sub(logSigmoid(x.neg()).mul(epsilon));
};
