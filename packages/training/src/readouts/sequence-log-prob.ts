import type { Tensor } from '@posttrain/core-tensor';
import type { Readout } from '../loss/loss.js';
import { predictions } from './predictions.js';

/** Σ log p over the predictions of a row whose weight is not 0, [b]. */
export const sequenceLogProb: Readout<Tensor> = {
  name: 'sequenceLogProb',
  per: 'row',
  compute: ({ read, batch: { weights } }) =>
    read(predictions()).logProbs.mul(weights.notEqual(0).cast('float32')).sum(1),
};
