import { options as declare, integer, text } from '@posttrain/interfaces';
import { binomial } from '@posttrain/interfaces/estimators';
import { createRandom } from '@posttrain/interfaces/random';
import { EvaluationError } from '../errors.js';
import type { SampleMetric } from '../task.js';
import { assertSubsetSize, metricOfGraded, rankOf, type ScoredProblem } from './samples.js';

const shape = {
  /** Name of the task's verifier whose scores weigh the votes. */
  by: text({}),
  /** Of the subsets drawn where there are too many to try all. Default 0. */
  seed: integer({ default: 0, min: 0 }),
  /** Most subsets of a problem's samples that are tried. Default 1000. */
  resamples: integer({ default: 1000, min: 1 }),
};
const metricOptions = declare('weightedBestAtK', shape);

/** Options of `weightedBestAtK`. */
export interface WeightedBestAtKOptions {
  /** Name of the task's verifier whose scores weigh the votes. */
  readonly by: string;
  /** Of the subsets drawn where there are too many to try all. Default 0. */
  readonly seed?: number;
  /** Most subsets of a problem's samples that are tried. Default 1000. */
  readonly resamples?: number;
}

/**
 * Weighted best@k (weighted best-of-N, arXiv 2206.02336): the expected score of the answer with the largest sum of a
 * verifier's scores among k of the problem's n samples, in its best scored sample. It has no closed form: every subset is
 * tried where C(n, k) ≤ `resamples`, else so many drawn with a seed of the problem's own. Ties are shared as "first seen
 * wins" does on average; samples without an answer or a score do not vote, and a subset in which none votes is worth 0. A
 * problem with fewer than k graded samples has no value.
 *
 * @throws EvaluationError `NEGATIVE_WEIGHT`: with it, more votes would count for less; `NO_SUCH_VERIFIER`; `NO_ANSWER`
 */
export function weightedBestAtK(k: number, options: WeightedBestAtKOptions): SampleMetric {
  assertSubsetSize('weightedBestAtK', k);
  const { by, seed, resamples } = metricOptions.read(options);
  const name = `weighted best@${k} by ${by}`;
  return metricOfGraded(name, k, (problem) => {
    const valueIn = subsetValue(name, problem, by);
    const n = problem.samples.length;
    let sum = 0;
    if (isEnumerated(n, k, resamples)) {
      forEachSubset(n, k, (subset) => {
        sum += valueIn(subset, k);
      });
      return sum / binomial(n, k);
    }
    const random = createRandom(seed, `weightedBestAtK:${problem.id}:${k}`);
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let draw = 0; draw < resamples; draw++) {
      // Fisher and Yates, as far as the k-th.
      for (let i = 0; i < k; i++) {
        const j = random.integer(i, n - 1);
        const swap = order[i]!;
        order[i] = order[j]!;
        order[j] = swap;
      }
      sum += valueIn(order, k);
    }
    return sum / resamples;
  });
}

/** Whether every k-subset of n samples is tried. */
export function isEnumerated(n: number, k: number, resamples: number): boolean {
  return binomial(n, k) <= resamples;
}

/**
 * The value of the subset made of the first k entries of `order`, over all orders of that subset: an answer tied for the
 * largest sum appears first with probability proportional to its votes, and its sample is one of its highest scored.
 */
function subsetValue(
  metric: string,
  { id, samples }: ScoredProblem,
  by: string,
): (order: ArrayLike<number>, k: number) => number {
  const index = new Map<string, number>();
  const weights = new Float64Array(samples.length);
  const group = Int32Array.from(samples, (sample, i) => {
    const weight = rankOf(metric, id, sample, by);
    const { answer } = sample;
    if (answer === undefined) {
      throw new EvaluationError('NO_ANSWER', `${metric} counts answers, but the grader of problem "${id}" names none.`);
    }
    if (weight !== null && weight < 0) {
      throw new EvaluationError(
        'NEGATIVE_WEIGHT',
        `${metric}: problem "${id}": the score ${weight} cannot weigh a vote. Weights must not be negative, or more votes ` +
          'would count for less; map scores to positive numbers first, for instance with a sigmoid.',
      );
    }
    if (answer === null || weight === null) return -1;
    weights[i] = weight;
    if (!index.has(answer)) index.set(answer, index.size);
    return index.get(answer)!;
  });
  const values = Float64Array.from(samples, ({ score }) => score);
  const sum = new Float64Array(index.size);
  const votes = new Int32Array(index.size);
  const best = new Float64Array(index.size);
  const bestVotes = new Int32Array(index.size);
  const bestValue = new Float64Array(index.size);
  return (order, k) => {
    sum.fill(0);
    votes.fill(0);
    for (let i = 0; i < k; i++) {
      const sample = order[i]!;
      const answer = group[sample]!;
      if (answer < 0) continue;
      const weight = weights[sample]!;
      sum[answer]! += weight;
      if (votes[answer]!++ === 0 || weight > best[answer]!) {
        best[answer] = weight;
        bestVotes[answer] = 0;
        bestValue[answer] = 0;
      }
      if (weight === best[answer]) {
        bestVotes[answer]!++;
        bestValue[answer]! += values[sample]!;
      }
    }
    let most = Number.NEGATIVE_INFINITY;
    let tiedVotes = 0;
    let value = 0;
    for (let answer = 0; answer < sum.length; answer++) {
      if (votes[answer] === 0 || sum[answer]! < most) continue;
      if (sum[answer]! > most) {
        most = sum[answer]!;
        tiedVotes = 0;
        value = 0;
      }
      tiedVotes += votes[answer]!;
      value += (votes[answer]! * bestValue[answer]!) / bestVotes[answer]!;
    }
    return tiedVotes === 0 ? 0 : value / tiedVotes;
  };
}

/** Calls `visit` with every k-subset of 0 … n−1; the array is reused. */
function forEachSubset(n: number, k: number, visit: (subset: readonly number[]) => void): void {
  const subset = Array.from({ length: k }, (_, i) => i);
  for (;;) {
    visit(subset);
    let i = k - 1;
    while (i >= 0 && subset[i] === n - k + i) i--;
    if (i < 0) return;
    subset[i]!++;
    for (let j = i + 1; j < k; j++) subset[j] = subset[j - 1]! + 1;
  }
}
