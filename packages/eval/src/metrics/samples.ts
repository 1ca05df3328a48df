import { showValue } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';
import type { GradedProblem, GradedSample, SampleMetric } from '../task.js';

export function assertSubsetSize(where: string, k: number): void {
  if (!Number.isInteger(k) || k < 1)
    throw new EvaluationError('BAD_OPTION', `${where}: k must be a whole number above 0, not ${showValue(k)}.`);
}

/** A sample that its grader could score. */
export interface ScoredSample extends GradedSample {
  readonly score: number;
}

/** A problem of which only the samples that could be scored are left. */
export interface ScoredProblem extends GradedProblem {
  readonly samples: readonly ScoredSample[];
}

/**
 * A metric over k of a problem's samples. Samples that the grader could not score (`null`) are left out, of n as well, under
 * every such metric; a problem with fewer than k that it could has no value.
 */
export function metricOfGraded(name: string, k: number, value: (problem: ScoredProblem) => number): SampleMetric {
  return {
    name,
    k,
    value: (problem) => {
      const samples = problem.samples.filter((sample): sample is ScoredSample => sample.score !== null);
      return samples.length < k ? null : value({ ...problem, samples });
    },
  };
}

/** The score by which a verifier ranks a sample; `null`: not scorable. */
export function rankOf(metric: string, id: string, { verifierScores }: GradedSample, by: string): number | null {
  const rank = verifierScores[by];
  if (rank !== undefined) return rank;
  const known = Object.keys(verifierScores).join(', ') || 'none';
  throw new EvaluationError(
    'NO_SUCH_VERIFIER',
    `${metric}: problem "${id}" has no scores by "${by}"; the task's verifiers: ${known}.`,
  );
}

/** The scores, which have to be 0 or 1. */
export function binaryScores(metric: string, problem: ScoredProblem): number[] {
  return problem.samples.map(({ score }, i) => {
    if (score === 0 || score === 1) return score;
    throw new EvaluationError(
      'NOT_BINARY',
      `${metric} needs right (1) or wrong (0), but sample ${i} of problem "${problem.id}" has score ${score}.`,
    );
  });
}
