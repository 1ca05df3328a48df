import { assertKnownOptions } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import { chanceOfAvoiding } from '../statistics/combinatorics.js';
import type { GradedProblem, GradedSample, SampleMetric } from '../task.js';
import { assertSubsetSize } from './samples.js';

export interface BestAtKOptions {
  /** Name of the task's verifier whose score picks the sample. */
  readonly by: string;
}

/**
 * best@k (best-of-N): the expected score of the sample that a verifier ranks first among k of the problem's n samples,
 * over all C(n, k) subsets, exactly: Σ_r y_(r) · C(n−r, k−1)/C(n, k), r = 1 the sample ranked best. Equal verifier scores
 * are picked from evenly; samples the verifier could not score (`null`) rank below all others. A problem with fewer than k
 * samples, or with a sample the grader could not score, has no value.
 */
export function bestAtK(k: number, options: BestAtKOptions): SampleMetric {
  assertSubsetSize('bestAtK', k);
  assertKnownOptions('bestAtK', options, ['by']);
  return {
    name: `best@${k} by ${options.by}`,
    value: (problem) => {
      const n = problem.samples.length;
      if (n < k || problem.samples.some(({ score }) => score === null)) return null;
      let expected = 0;
      let above = 0;
      for (const block of blocksOfEqualRank(problem, options.by)) {
        const chance = chanceOfAvoiding(above, n, k) - chanceOfAvoiding(above + block.length, n, k);
        expected += chance * (block.reduce((sum, { score }) => sum + score!, 0) / block.length);
        above += block.length;
      }
      return expected;
    },
  };
}

function blocksOfEqualRank(problem: GradedProblem, by: string): GradedSample[][] {
  const blocks = new Map<number, GradedSample[]>();
  for (const sample of problem.samples) {
    const score = sample.verifierScores[by];
    if (score === undefined) {
      const known = Object.keys(sample.verifierScores).join(', ') || 'none';
      throw new EvaluationError(
        'NO_SUCH_VERIFIER',
        `best@k: problem "${problem.id}" has no scores by "${by}"; the task's verifiers: ${known}.`,
      );
    }
    const rank = score ?? Number.NEGATIVE_INFINITY;
    blocks.set(rank, [...(blocks.get(rank) ?? []), sample]);
  }
  return [...blocks].sort(([a], [b]) => (a < b ? 1 : -1)).map(([, block]) => block);
}
