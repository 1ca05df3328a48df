import type { Tensor } from '@posttrain/core-tensor';
import type { Readout } from '../loss/loss.js';
import { predictionLayer } from './prediction-layer.js';
import { predictions } from './predictions.js';
import { sumOverVocabulary } from './vocabulary.js';

/** Options of the readout `meanLogProb`. */
export interface MeanLogProbOptions {
  /** Divides the logits before the softmax. Default 1. */
  readonly temperature?: number;
  /** Vocabulary entries whose logits exist at one time. Default: as many as fit 32 MiB, but not fewer than 2,048. */
  readonly chunkSize?: number;
}

/**
 * The mean of log p over all tokens of the vocabulary at every prediction, [b, s - 1]: minus the cross entropy of the uniform
 * distribution, which is -log V where all are alike, and less everywhere else.
 */
export function meanLogProb({ temperature = 1, chunkSize }: MeanLogProbOptions = {}): Readout<Tensor> {
  return {
    name: 'meanLogProb',
    per: 'prediction',
    compute(pass) {
      const [b, s] = pass.batch.tokens.shape as [number, number];
      const layer = predictionLayer(pass, temperature);
      const sums = sumOverVocabulary([layer], ([logits]) => logits!.sum(1), chunkSize);
      const mean = sums.mul(1 / layer.matrix.shape[0]!).reshape([b, s - 1]);
      return mean.sub(pass.read(predictions({ temperature })).logSumExps);
    },
  };
}
