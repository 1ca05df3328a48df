import { PosttrainError, showValue } from '@posttrain/interfaces';

/** Something that was shown where a coin said: at the first place, or at the one that it was swapped with. */
export interface SwapIntervention {
  /** k, the place that the first one was swapped with, or not. */
  readonly swappedWith: number;
  /** Where this one was shown: 1 or k. */
  readonly position: number;
  readonly clicked: boolean;
}

/**
 * Propensities of places from swap interventions (arXiv 1608.04468 §5): in some of the sessions a coin says whether what stands at place 1 and at place k
 * are swapped, so that both places show the same things, and the rates of clicks are apart by who looks there alone,
 *
 *   p_k / p_1 = rate of clicks at k / rate of clicks at 1,  over the sessions in which k may have been swapped
 *
 * Given by place, with p_1 = 1: relative ones are enough for `implicitFeedback`, whose order of answers they do not change. A place without a
 * click has the propensity 0, which no row can have: log more sessions.
 *
 * @throws PosttrainError PROPENSITIES for an empty log, places that are no swaps, clicks that are neither true nor false, and where place 1 has no click
 */
export function estimatePropensities(log: readonly SwapIntervention[]): ReadonlyMap<number, number> {
  if (log.length === 0) {
    throw new PosttrainError('PROPENSITIES', 'estimatePropensities: the log is empty; there is nothing to compare');
  }
  const counts = new Map<number, { first: [shown: number, clicks: number]; other: [shown: number, clicks: number] }>();
  for (const [i, { swappedWith: k, position, clicked }] of log.entries()) {
    if (!(Number.isInteger(k) && k > 1) || (position !== 1 && position !== k)) {
      const problem = `entry ${i} is at place ${showValue(position)} of a swap with ${showValue(k)}`;
      throw new PosttrainError(
        'PROPENSITIES',
        `estimatePropensities: ${problem}; places are 1 and a whole number k > 1`,
      );
    }
    if (typeof clicked !== 'boolean') {
      const problem = `entry ${i}: clicked is ${showValue(clicked)}`;
      throw new PosttrainError('PROPENSITIES', `estimatePropensities: ${problem}; it must be true or false`);
    }
    const of = counts.get(k) ?? { first: [0, 0], other: [0, 0] };
    const place = position === 1 ? of.first : of.other;
    place[0]++;
    place[1] += Number(clicked);
    counts.set(k, of);
  }
  const propensities = new Map([[1, 1]]);
  for (const [k, { first, other }] of [...counts].sort(([a], [b]) => a - b)) {
    if (first[1] === 0 || other[0] === 0) {
      const missing = first[1] === 0 ? 'no click at place 1' : `nothing shown at place ${k}`;
      throw new PosttrainError(
        'PROPENSITIES',
        `estimatePropensities: swaps with ${k} have ${missing}; log more sessions`,
      );
    }
    propensities.set(k, other[1] / other[0] / (first[1] / first[0]));
  }
  return propensities;
}
