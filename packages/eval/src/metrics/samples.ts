import { EvaluationError } from '../errors.js';
import type { GradedProblem } from '../task.js';

export function assertSubsetSize(where: string, k: number): void {
  if (!Number.isInteger(k) || k < 1)
    throw new EvaluationError('BAD_OPTION', `${where}: k must be a whole number above 0, not ${k}.`);
}

/** The scores of the scored samples, which have to be 0 or 1. */
export function binaryScores(metric: string, problem: GradedProblem): number[] {
  return problem.samples.flatMap(({ score }, i) => {
    if (score === null) return [];
    if (score === 0 || score === 1) return [score];
    throw new EvaluationError(
      'NOT_BINARY',
      `${metric} needs right (1) or wrong (0), but sample ${i} of problem "${problem.id}" has score ${score}.`,
    );
  });
}
