import { PosttrainError } from '@posttrain/interfaces';
import type { SequenceLogProbs } from './token-log-probs.js';

/**
 * exp(-(1/T) Σ log p) over all T predicted tokens of all sequences: the vocabulary size for a model that knows nothing, 1
 * for one that is always sure and right. Sequences count by their tokens, not one each.
 *
 * @throws PosttrainError when there is no predicted token
 */
export function perplexity(scored: readonly Pick<SequenceLogProbs, 'logProbs'>[]): number {
  let sum = 0;
  let count = 0;
  for (const { logProbs } of scored) {
    for (const logProb of logProbs) sum += logProb;
    count += logProbs.length;
  }
  if (count === 0)
    throw new PosttrainError('EMPTY', 'perplexity: no token was predicted; give sequences of two tokens or more');
  return Math.exp(-sum / count);
}
