import { type Given, integer, number, oneOf, options } from '@posttrain/interfaces';
import { type Tensor, where } from '../tensor.js';
import { tokenLogProbs } from './token-log-probs.js';

const crossEntropyOptions = options('crossEntropy', {
  /** Over the rows that are not ignored. `none` gives one number a row, 0 where it is ignored. Default `mean`. */
  reduction: oneOf(['mean', 'sum', 'none'], { default: 'mean' }),
  /** Rows with this target count for nothing. Default -100. */
  ignoreIndex: integer({ default: -100 }),
  /** The share ε of the target's probability that is spread over the whole vocabulary. Default 0. */
  labelSmoothing: number({ default: 0, min: 0, max: 1 }),
  /** Weight of (logsumexp z)², which keeps the logits near normalised (arXiv 2204.02311 has 1e-4). Default 0. */
  zLoss: number({ default: 0 }),
  /** As `tokenLogProbs` has it. */
  chunkSize: integer({ optional: true, min: 1 }),
});
/** Options of `crossEntropy`. */
export type CrossEntropyOptions = Given<typeof crossEntropyOptions>;

/**
 * Cross-entropy of the targets under softmax(z), z = hidden headᵀ, without the logits of the whole vocabulary in memory:
 * -(1 - ε) log p(target) - ε mean_j log p_j + zLoss (logsumexp z)². hidden [n, d], head [vocabulary, d], int32 targets [n] →
 * float32, a scalar or [n]. Equal to torch's `cross_entropy(hidden @ head.T, targets)`, which is NaN too for the mean of no rows.
 */
export function crossEntropy(hidden: Tensor, head: Tensor, targets: Tensor, given: CrossEntropyOptions = {}): Tensor {
  const { reduction, ignoreIndex, labelSmoothing, zLoss, chunkSize } = crossEntropyOptions.read(given);
  const isIgnored = targets.equal(ignoreIndex);
  const { logProbs, logSumExps } = tokenLogProbs(
    hidden,
    head,
    where(isIgnored, 0, targets),
    chunkSize === undefined ? {} : { chunkSize },
  );
  let losses = logProbs.mul(labelSmoothing - 1);
  if (labelSmoothing !== 0) {
    // mean_j log p_j = mean_j z_j - logsumexp z, and the mean of a product is the product with the mean.
    const meanLogits = hidden.matmul(head.mean(0, { keepDims: true }), { transposeB: true }).squeeze(1);
    losses = losses.add(logSumExps.sub(meanLogits.cast('float32')).mul(labelSmoothing));
  }
  if (zLoss !== 0) losses = losses.add(logSumExps.square().mul(zLoss));
  const counted = where(isIgnored, 0, losses);
  if (reduction === 'none') return counted;
  const total = counted.sum();
  return reduction === 'sum' ? total : total.div(isIgnored.not().cast('float32').sum());
}
