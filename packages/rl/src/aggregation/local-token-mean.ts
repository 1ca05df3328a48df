import { assertKnownOptions, PosttrainError } from '@posttrain/interfaces';
import { type Aggregation, total } from './aggregation.js';

export interface LocalTokenMeanOptions {
  /** Consecutive completions that are averaged by themselves. Default: all of the step, which is `tokenMean`. */
  readonly localBatchSize?: number;
}

/**
 * The mean over local batches of the mean over their tokens (BNPO in TRL): 1 / (number of local batches · Σ|o| of the
 * completion's own). In TRL the local batch is whatever fits one pass; here it is stated, so that memory settings never
 * change the result.
 */
export function localTokenMean(options: LocalTokenMeanOptions = {}): Aggregation {
  assertKnownOptions('localTokenMean', options, ['localBatchSize']);
  const { localBatchSize = Number.POSITIVE_INFINITY } = options;
  if (!(localBatchSize >= 1)) {
    throw new PosttrainError('LOCAL_BATCH_SIZE', `localBatchSize must be 1 or more, not ${localBatchSize}`);
  }
  return {
    name: 'local-token-mean',
    weights(lengths) {
      const size = Math.min(localBatchSize, lengths.length);
      const batches = Math.ceil(lengths.length / size);
      return lengths.map((_, i) => {
        const start = Math.floor(i / size) * size;
        return 1 / (batches * Math.max(total(lengths.slice(start, start + size)), 1));
      });
    },
  };
}
