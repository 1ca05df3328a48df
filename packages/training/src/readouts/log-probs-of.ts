import { type Tensor, where } from '@posttrain/core-tensor';
import type { Readout } from '../loss/loss.js';
import { predictionLayer } from './prediction-layer.js';
import { predictions } from './predictions.js';
import { sumOverVocabulary } from './vocabulary.js';

/** Options of the readout `logProbsOf`. */
export interface LogProbsOfOptions {
  /** The annotation with the token ids, k for every prediction. */
  readonly ids: string;
  /** How many there are. */
  readonly k: number;
  /** Divides the logits before the softmax. Default 1. */
  readonly temperature?: number;
  /** Vocabulary entries whose logits exist at one time. Default: as many as fit 32 MiB, but not fewer than 2,048. */
  readonly chunkSize?: number;
}

/**
 * log p of k given tokens at every prediction, [b, s - 1, k]: what a teacher's top-k tokens have under the student. The ids are an
 * annotation { per: 'prediction', width: k, dtype: 'int32' }.
 */
export function logProbsOf({ ids, k, temperature = 1, chunkSize }: LogProbsOfOptions): Readout<Tensor> {
  return {
    name: `logProbsOf(${ids})`,
    per: 'prediction',
    annotations: [{ name: ids, per: 'prediction', width: k, dtype: 'int32' }],
    compute(pass) {
      const wanted = pass.batch.annotations[ids]!;
      const [b, t] = wanted.shape as [number, number, number];
      const flat = wanted.reshape([b * t, k]);
      const logits = sumOverVocabulary(
        [predictionLayer(pass, temperature)],
        ([chunk], start, end) => {
          const column = flat
            .sub(start)
            .maximum(0)
            .minimum(end - start - 1);
          return where(column.equal(flat.sub(start)), chunk!.takeAlongAxis(column, 1), 0);
        },
        chunkSize,
      );
      return logits.reshape([b, t, k]).sub(pass.read(predictions({ temperature })).logSumExps.expandDims(2));
    },
  };
}
