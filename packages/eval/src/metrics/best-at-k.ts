import { type Given, options, text } from '@posttrain/interfaces';
import { bestOfK } from '@posttrain/interfaces/estimators';
import type { SampleMetric } from '../task.js';
import { assertSubsetSize, metricOfGraded, rankOf } from './samples.js';

const bestAtKOptions = options(
  'bestAtK',
  {
    /** Name of the task's verifier whose score picks the sample. */
    by: text({}),
  },
  { bare: 'by' },
);
/** Options of `bestAtK`. */
export type BestAtKOptions = Given<typeof bestAtKOptions>;

/**
 * best@k (best-of-N): the expected score of the sample that a verifier ranks first among k of the problem's n samples,
 * over all C(n, k) subsets, exactly: Σ_r y_(r) · C(n−r, k−1)/C(n, k), r = 1 the sample ranked best. Equal verifier scores
 * are picked from evenly. As best-of-N does, it never picks a sample that the verifier could not score (`null`), and a
 * subset without any score is worth 0. A problem with fewer than k graded samples has no value.
 */
export function bestAtK(k: number, given: BestAtKOptions): SampleMetric {
  assertSubsetSize('bestAtK', k);
  const { by } = bestAtKOptions.read(given);
  return metricOfGraded(`best@${k} by ${by}`, k, ({ id, samples }) =>
    bestOfK(
      samples.map((sample) => ({ value: sample.score, rank: rankOf('best@k', id, sample, by) })),
      k,
    ),
  );
}
