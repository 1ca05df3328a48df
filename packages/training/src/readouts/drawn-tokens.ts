import { concat, type Tensor } from '@posttrain/core-tensor';
import type { Readout } from '../loss/loss.js';
import { predictionLayer } from './prediction-layer.js';
import { predictions } from './predictions.js';
import { reduceOverVocabulary, sumOverVocabulary } from './vocabulary.js';

/** Options of the readout `drawnTokens`. */
export interface DrawnTokensOptions {
  /** The annotation with a number of [0, 1) for every prediction. */
  readonly uniforms: string;
  /** Divides the logits before the softmax. Default 1. */
  readonly temperature?: number;
  /** Vocabulary entries whose logits exist at one time. Default: as many as fit 32 MiB, but not fewer than 2,048. */
  readonly chunkSize?: number;
}

/**
 * A token drawn from the distribution of every prediction, [b, s - 1], float32 and without a gradient, by inverse transform sampling:
 * the first v whose cumulative probability is above u. The text before it is that of the row, and none of the tokens that are drawn.
 */
export function drawnTokens({ uniforms, temperature = 1, chunkSize }: DrawnTokensOptions): Readout<Tensor> {
  return {
    name: `drawnTokens(${uniforms})`,
    per: 'prediction',
    annotations: [uniforms],
    compute(pass) {
      const layer = predictionLayer(pass, temperature);
      const [b, s] = pass.batch.tokens.shape as [number, number];
      const column = [b * (s - 1), 1];
      const logSumExps = pass.read(predictions({ temperature })).logSumExps.reshape(column);
      const starts: number[] = [];
      const masses = reduceOverVocabulary(
        [layer],
        ([logits], start) => {
          starts.push(start);
          return logits!.sub(logSumExps).exp().sum(1, { keepDims: true });
        },
        (soFar, next) => concat([soFar, next], 1),
        chunkSize,
      );
      const before = masses.cumsum(1, { exclusive: true });
      // All mass there is, so that rounding leaves no u above the last entry.
      const u = pass.batch.annotations[uniforms]!.reshape(column).mul(masses.sum(1, { keepDims: true }));
      const below = sumOverVocabulary(
        [layer],
        ([logits], start) => {
          const chunk = starts.indexOf(start);
          const upTo = logits!
            .sub(logSumExps)
            .exp()
            .cumsum(1)
            .add(before.slice(1, chunk, chunk + 1));
          return upTo.lessEqual(u).cast('float32').sum(1);
        },
        chunkSize,
      );
      return below.minimum(layer.matrix.shape[0]! - 1).reshape([b, s - 1]);
    },
  };
}
