import { logSumExp, softplus, type Tensor } from '@posttrain/core-tensor';
import type { Readout } from '../loss/loss.js';
import { predictionLayer } from './prediction-layer.js';
import { predictions } from './predictions.js';
import { reduceOverVocabulary } from './vocabulary.js';

/** Options of the readout `collisionEntropy`. */
export interface CollisionEntropyOptions {
  /** Divides the logits before the softmax. Default 1. */
  readonly temperature?: number;
  /** Vocabulary entries whose logits exist at one time. Default: as many as fit 32 MiB, but not fewer than 2,048. */
  readonly chunkSize?: number;
}

/**
 * Rényi's entropy of order 2 of the distribution that a token was predicted from, -log Σ_v p(v)², in nats, [b, s - 1]: 0 where one
 * token has all probability, log V where all are alike. Two draws are the same token with probability e^-H.
 */
export function collisionEntropy({ temperature = 1, chunkSize }: CollisionEntropyOptions = {}): Readout<Tensor> {
  return {
    name: 'collisionEntropy',
    per: 'prediction',
    compute(pass) {
      const [b, s] = pass.batch.tokens.shape as [number, number];
      // log Σ e^(2z), to which chunk after chunk is added.
      const doubled = reduceOverVocabulary(
        [predictionLayer(pass, temperature)],
        ([logits]) => logSumExp(logits!.mul(2)).squeeze(1),
        (soFar, next) => soFar.add(softplus(next.sub(soFar))),
        chunkSize,
      );
      return pass
        .read(predictions({ temperature }))
        .logSumExps.mul(2)
        .sub(doubled.reshape([b, s - 1]));
    },
  };
}
