import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { bestOfK, EstimatorError, majorityOfK, passAtK, type RankedSample } from '../src/estimators/index.js';
import { createRandom, philox4x32, threefry2x32 } from '../src/random/index.js';
import { sha256 } from '../src/random/sha256.js';

describe('philox4x32-10', () => {
  // Known-answer vectors published with Random123 (kat_vectors, "philox4x32 10").
  test.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ] as const)('known answer %#', (counter, key, expected) => {
    expect(philox4x32(counter, key)).toEqual(expected);
  });
});

describe('threefry2x32-20', () => {
  // kat_vectors of the Random123 distribution: counter, key, result.
  const vectors: readonly (readonly number[])[] = [
    [0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x6b200159, 0x99ba4efe],
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x1cb996fc, 0xbb002be7],
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xc4923a9c, 0x483df7a0],
  ];
  test.each(vectors)('known answer for counter %i %i', (c0, c1, k0, k1, r0, r1) => {
    const out = new Int32Array(2);
    threefry2x32(k0!, k1!, c0!, c1!, out, 0);
    expect([out[0]! >>> 0, out[1]! >>> 0]).toEqual([r0, r1]);
  });
});

describe('sha256', () => {
  // Around the borders of a block of 64 bytes, and beyond one byte a character.
  const texts = ['', 'abc', 'ä€😀', ...[54, 55, 56, 63, 64, 65, 119, 120, 1000].map((length) => 'x'.repeat(length))];
  test.each(texts)('%j is hashed as Node does', (text) => {
    const words = Array.from(sha256(text), (word) => word.toString(16).padStart(8, '0')).join('');
    expect(words).toBe(createHash('sha256').update(text).digest('hex'));
  });
});

describe('createRandom', () => {
  test('the same seed and stream repeat, any other differs', () => {
    const draws = (seed: number, ...stream: (string | number)[]) => {
      const random = createRandom(seed, ...stream);
      return Array.from({ length: 8 }, () => random.uint32()).join();
    };
    expect(draws(1, 'a', 2)).toBe(draws(1, 'a', 2));
    const distinct = [draws(1), draws(2), draws(1, 'a'), draws(1, 'a', 2), draws(1, 'a2'), draws(-1), draws(1, '1')];
    expect(new Set(distinct).size).toBe(distinct.length);
  });

  test('is the same on every platform', () => {
    const random = createRandom(42, 'golden');
    expect([random.uint32(), random.uint32()]).toEqual(GOLDEN_UINT32);
  });

  test('integers are uniform, both ends included (chi-square, 6 degrees of freedom)', () => {
    const random = createRandom(7);
    const counts = new Array<number>(7).fill(0);
    const draws = 14_000;
    for (let i = 0; i < draws; i++) {
      const drawn = random.integer(-3, 3);
      counts[drawn + 3] = (counts[drawn + 3] ?? 0) + 1;
    }
    expect(counts).toHaveLength(7);
    const expected = draws / 7;
    const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    expect(chiSquare).toBeLessThan(22.46); // the 99.9 % quantile
  });

  test('a range that does not divide 2^32 has no modulo bias', () => {
    const random = createRandom(11);
    let low = 0;
    for (let i = 0; i < 6000; i++) if (random.integer(0, 3 * 2 ** 30 - 1) < 2 ** 30) low++;
    expect(Math.abs(low - 2000)).toBeLessThan(4 * Math.sqrt(6000 * (1 / 3) * (2 / 3))); // the biased mean is 3000
  });

  test('the largest range works and floats are in [0, 1) with mean 1/2', () => {
    const random = createRandom(3);
    expect(random.integer(0, 2 ** 32 - 1)).toBeGreaterThanOrEqual(0);
    let sum = 0;
    for (let i = 0; i < 10_000; i++) {
      const drawn = random.float();
      expect(drawn >= 0 && drawn < 1).toBe(true);
      sum += drawn;
    }
    expect(Math.abs(sum / 10_000 - 0.5)).toBeLessThan(4 / Math.sqrt(12 * 10_000));
  });

  test('all permutations are equally likely (chi-square, 23 degrees of freedom)', () => {
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 4800; seed++) {
      const order = createRandom(seed).shuffled([0, 1, 2, 3]).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - 200) ** 2 / 200, 0);
    expect(chiSquare).toBeLessThan(49.73); // the 99.9 % quantile
  });

  test('bad arguments are errors', () => {
    expect(() => createRandom(0.5)).toThrow(/safe integer/);
    expect(() => createRandom(1).integer(2, 1)).toThrow(/max/);
    expect(() => createRandom(1).pick([])).toThrow(/empty/);
  });
});

// philox4x32 of counter (0, 0, c2, c3) under the key made of SHA-256('[42,"golden"]'), worked out with hashlib and
// 128-bit integers in Python.
const GOLDEN_UINT32 = [3275981660, 3026602735];

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
