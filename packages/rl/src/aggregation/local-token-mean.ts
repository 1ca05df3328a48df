import { type Given, integer, options } from '@posttrain/interfaces';
import { type Aggregation, total } from './aggregation.js';

export const localTokenMeanShape = {
  /** Consecutive completions that are averaged by themselves. Default: all of the step, which is `tokenMean`. */
  localBatchSize: integer({ optional: true, min: 1 }),
};
const localTokenMeanOptions = options('localTokenMean', localTokenMeanShape);
/** Options of `localTokenMean`. */
export type LocalTokenMeanOptions = Given<typeof localTokenMeanOptions>;

/**
 * The mean over local batches of the mean over their tokens (BNPO in TRL): 1 / (number of local batches · Σ|o| of the
 * completion's own). In TRL the local batch is whatever fits one pass; here it is stated, so that memory settings never
 * change the result.
 */
export function localTokenMean(given: LocalTokenMeanOptions = {}): Aggregation {
  const { localBatchSize = Number.POSITIVE_INFINITY } = localTokenMeanOptions.read(given);
  return {
    name: 'local-token-mean',
    settings: localTokenMeanOptions.settings(given),
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
