import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bestOfK, EstimatorError, majorityOfK, passAtK, type RankedSample } from '../src/estimators/index.js';

/** All subsets of `items` of size `k`. */
function subsets<T>(items: readonly T[], k: number): T[][] {
  if (k === 0) return [[]];
  return items.flatMap((item, i) => subsets(items.slice(i + 1), k - 1).map((rest) => [item, ...rest]));
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** What best-of-N returns of one subset: nothing, worth 0, when no sample has a rank. */
function best(subset: readonly RankedSample[]): number {
  const ranks = subset.flatMap(({ rank }) => (rank === null ? [] : [rank]));
  const top = Math.max(...ranks);
  return ranks.length === 0 ? 0 : mean(subset.filter(({ rank }) => rank === top).map(({ value }) => value));
}

/** What the vote of one subset of answers returns, ties shared. */
function vote(subset: readonly (number | null)[], values: readonly number[]): number {
  const counts = values.map((_, answer) => subset.filter((given) => given === answer).length);
  const top = Math.max(...counts);
  return top === 0 ? 0 : mean(values.filter((_, answer) => counts[answer] === top));
}

describe('closed forms agree with the enumeration of every subset', () => {
  it('bestOfK and passAtK', () => {
    const sample = fc.record({ value: fc.constantFrom(0, 1, 0.5), rank: fc.constantFrom(null, 0, 1, 2) });
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 7 }), (samples) => {
        const right = samples.filter(({ value }) => value === 1).length;
        for (let k = 1; k <= samples.length; k++) {
          const all = subsets(samples, k);
          expect(bestOfK(samples, k)).toBeCloseTo(mean(all.map(best)), 12);
          const passed = all.map((subset) => Number(subset.some(({ value }) => value === 1)));
          expect(passAtK(samples.length, right, k)).toBeCloseTo(mean(passed), 12);
        }
      }),
    );
  });

  it('majorityOfK', () => {
    const values = [1, 0, 0, 0.5];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(null, 0, 1, 2, 3), { minLength: 1, maxLength: 8 }), (answers) => {
        const groups = values.flatMap((value, answer) => {
          const size = answers.filter((given) => given === answer).length;
          return size === 0 ? [] : [{ size, value }];
        });
        const ks = answers.map((_, i) => i + 1);
        const found = majorityOfK(groups, answers.filter((given) => given === null).length, ks);
        ks.forEach((k, i) => {
          expect(found[i]).toBeCloseTo(mean(subsets(answers, k).map((subset) => vote(subset, values))), 12);
        });
      }),
    );
  });
});

it.each([
  // 1 − C(n−c, k)/C(n, k) in fractions, by another program.
  [1, 0, 1, 0],
  [1, 1, 1, 1],
  [5, 5, 5, 1],
  [5, 0, 5, 0],
  [1000, 1, 1000, 1],
  [100_000, 3, 10, 0.0002999730004500189],
  [100_000, 1, 1, 1e-5],
  [1_000_000, 5, 100_000, 0.40951065610171317],
])('pass@k of n = %d, c = %d, k = %d', (n, c, k, expected) => {
  expect(Math.abs(passAtK(n, c, k) - expected)).toBeLessThanOrEqual(1e-11 * expected);
});

it.each<[string, () => unknown, RegExp]>([
  ['pass@k of too few', () => passAtK(2, 0, 5), /k = 5 samples cannot be drawn from n = 2 graded samples, c = 0/],
  ['pass@k of none', () => passAtK(0, 0, 1), /k = 1 .* n = 0/],
  ['more right than there are', () => passAtK(3, 4, 1), /of n = 3 samples c = 4 cannot be right \(k = 1\)/],
  ['best-of-k of too few', () => bestOfK([{ value: 1, rank: 1 }], 2), /best-of-k: k = 2 .* n = 1/],
  ['best-of-k of no number', () => bestOfK([{ value: Number.NaN, rank: 1 }], 1), /sample 0 has value NaN and rank 1/],
  ['best-of-k by no number', () => bestOfK([{ value: 1, rank: Number.NaN }], 1), /sample 0 has value 1 and rank NaN/],
  ['maj@k of none', () => majorityOfK([], 0, [1]), /maj@k: k = 1 .* n = 0/],
  ['maj@k of too many', () => majorityOfK([{ size: 1001, value: 1 }], 0, [1]), /n = 1001 samples are more than 1000/],
  ['maj@k of parts of samples', () => majorityOfK([{ size: 1.5, value: 1 }], 0.5, [1]), /1\.5 samples give one answer/],
  [
    'maj@k of fewer than none',
    () => majorityOfK([{ size: 2, value: 1 }], -1, [1]),
    /-1 samples give one answer, or none/,
  ],
  ['maj@k of no number', () => majorityOfK([{ size: 2, value: Number.NaN }], 0, [1]), /the value NaN/],
])('refuses %s', (_, call, message) => {
  expect(call).toThrow(EstimatorError);
  expect(call).toThrow(message);
});
