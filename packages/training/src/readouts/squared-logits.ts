import type { Tensor } from '@posttrain/core-tensor';
import type { Readout } from '../loss/loss.js';
import { predictionLayer } from './prediction-layer.js';
import { sumOverVocabulary } from './vocabulary.js';

/** Options of the readout `squaredLogits`. */
export interface SquaredLogitsOptions {
  /** Vocabulary entries whose logits exist at one time. Default: as many as fit 32 MiB, but not fewer than 2,048. */
  readonly chunkSize?: number;
}

/** ‖z‖² of the logits of every prediction, [b, s - 1]: how far its output is from 0. */
export function squaredLogits({ chunkSize }: SquaredLogitsOptions = {}): Readout<Tensor> {
  return {
    name: 'squaredLogits',
    per: 'prediction',
    compute(pass) {
      const [b, s] = pass.batch.tokens.shape as [number, number];
      const sums = sumOverVocabulary([predictionLayer(pass, 1)], ([logits]) => logits!.square().sum(1), chunkSize);
      return sums.reshape([b, s - 1]);
    },
  };
}
