import { beforeEach, describe, expect, it } from 'vitest';
import { compile, dropout, Key, normal, ones, referenceEngine, setEngine, type Tensor, uniform } from '../src/index.js';
import { onnxruntimeEngine } from '../src/onnxruntime.js';
import { threefryBits } from '../src/random/threefry-bits.js';
import { expectClose } from '../src/testing/check-case.js';

beforeEach(() => setEngine(referenceEngine()));

const mean = (x: ArrayLike<number>): number => Array.from(x).reduce((a, b) => a + b, 0) / x.length;
const moment = (x: ArrayLike<number>, k: number): number => mean(Array.from(x, (value) => value ** k));

/** Pearson's statistic of `counts` against equal expectation. */
function chiSquare(counts: readonly number[]): number {
  const expected = mean(counts);
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

function histogram(x: ArrayLike<number>, bins: number): number[] {
  const counts = new Array<number>(bins).fill(0);
  for (const value of Array.from(x)) counts[Math.floor(value * bins)]!++;
  return counts;
}

function correlation(a: Float64Array, b: Float64Array): number {
  const [ma, mb] = [mean(a), mean(b)];
  const covariance = mean(Array.from(a, (value, i) => (value - ma) * (b[i]! - mb)));
  return covariance / Math.sqrt((moment(a, 2) - ma ** 2) * (moment(b, 2) - mb ** 2));
}

describe('Threefry-2x32 with 20 rounds', () => {
  it('every bit is set half of the time', () => {
    const words = threefryBits([7, 9], 20_000);
    for (let bit = 0; bit < 32; bit++) {
      const share = mean(Array.from(words, (word) => (word >>> bit) & 1));
      // Five standard errors of 20,000 coin tosses.
      expect(Math.abs(share - 0.5)).toBeLessThan(5 * Math.sqrt(0.25 / 20_000));
    }
  });
  it('a prefix of a longer draw is the shorter draw', () => {
    expect(threefryBits([1, 2], 7)).toEqual(threefryBits([1, 2], 100).slice(0, 7));
  });
});

describe('on the host', () => {
  it.each([0, 1, 6, 7, 1001])('%i normal numbers are those of the graph, up to rounding', async (count) => {
    const key = Key.fromSeed(11);
    const host = key.normalHost(count);
    const graph = await normal(key.toTensor(), [count]).toArray();
    expect(host.length).toBe(count);
    host.forEach((x, i) => {
      expect(Math.abs(x - graph[i]!)).toBeLessThan(2e-5);
    });
  });
});

describe('uniform', () => {
  const n = 64_000;
  const x = Key.fromSeed(3).uniformHost(n);
  it('lies in [0, 1) with mean 1/2 and variance 1/12', () => {
    expect(Math.min(...x.subarray(0, 10_000))).toBeGreaterThanOrEqual(0);
    expect(x.every((value) => value >= 0 && value < 1)).toBe(true);
    for (const from of [0, 5, 8]) expect(Key.fromSeed(3).uniformHost(7, from)).toEqual(x.slice(from, from + 7));
    expect(Math.abs(mean(x) - 1 / 2)).toBeLessThan(5 / Math.sqrt(12 * n));
    expect(Math.abs(moment(x, 2) - mean(x) ** 2 - 1 / 12)).toBeLessThan(5 / Math.sqrt(180 * n));
  });
  it('fills 64 bins evenly, and 16 × 16 bins of neighbours', () => {
    // Chi-square with 63 and 255 degrees of freedom: the central 99.98 % of the distribution.
    const single = chiSquare(histogram(x, 64));
    expect(single).toBeGreaterThan(29);
    expect(single).toBeLessThan(111);
    const pairs = Float64Array.from({ length: n / 2 }, (_, i) => (Math.floor(x[2 * i]! * 16) + x[2 * i + 1]!) / 16);
    const double = chiSquare(histogram(pairs, 256));
    expect(double).toBeGreaterThan(181);
    expect(double).toBeLessThan(347);
  });
  it('is the same as a tensor, traced or not', async () => {
    const key = Key.fromSeed(3);
    const draw = compile((k: Tensor) => uniform(k, [4, 25]));
    expectClose('traced', await (await draw(key.toTensor())).toArray(), x.subarray(0, 100), 0);
    expectClose('direct', await uniform(key.toTensor(), [100]).toArray(), x.subarray(0, 100), 0);
  });
});

describe('normal', () => {
  it.each([
    ['reference', referenceEngine()],
    ['onnxruntime', onnxruntimeEngine()],
  ] as const)('has the moments 0, 1, 0, 3 on %s', async (_, engine) => {
    setEngine(engine);
    const n = 40_000;
    const x = await normal(Key.fromSeed(11).toTensor(), [n]).toArray();
    expect(x.every(Number.isFinite)).toBe(true);
    // Variances of the k-th powers of a standard normal: 1, 2, 15, 96.
    const wanted = [0, 1, 0, 3];
    const spread = [1, 2, 15, 96];
    wanted.forEach((value, i) => {
      expect(Math.abs(moment(x, i + 1) - value)).toBeLessThan(5 * Math.sqrt(spread[i]! / n));
    });
    const within = (limit: number) => mean(x.map((value) => Number(Math.abs(value) < limit)));
    expect(within(1)).toBeCloseTo(0.6827, 2);
    expect(within(2)).toBeCloseTo(0.9545, 2);
  });
});

describe('keys', () => {
  it('of equal seeds are equal, of different seeds and children different', async () => {
    const parent = Key.fromSeed(5);
    const keys = [
      parent,
      Key.fromSeed(6),
      Key.fromSeed(5 + 2 ** 32),
      ...[0, 1, 2, 1000, 2 ** 32 - 1].map((i) => parent.child(i)),
      parent.child(0).child(0),
    ];
    const firsts = keys.map((key) => Array.from(key.uniformHost(4)).join());
    expect(new Set(firsts).size).toBe(keys.length);
    expect(Array.from(Key.fromSeed(5).child(1).uniformHost(4)).join()).toBe(firsts[4]);
  });
  it('give streams without correlation: siblings, parent and child, neighbouring seeds', () => {
    const n = 20_000;
    const parent = Key.fromSeed(5);
    const streams = [parent, parent.child(0), parent.child(1), parent.child(0).child(0), Key.fromSeed(6)].map((key) =>
      key.uniformHost(n),
    );
    streams.forEach((a, i) => {
      for (const b of streams.slice(i + 1)) expect(Math.abs(correlation(a, b))).toBeLessThan(5 / Math.sqrt(n));
    });
  });
  it('first numbers of many children are uniform', () => {
    const parent = Key.fromSeed(8);
    const firsts = Array.from({ length: 16_000 }, (_, i) => parent.child(i).uniformHost(1)[0]!);
    const statistic = chiSquare(histogram(firsts, 64));
    expect(statistic).toBeGreaterThan(29);
    expect(statistic).toBeLessThan(111);
  });
  it('refuse seeds and indices that would be cut', () => {
    for (const seed of [-1, 0.5, 2 ** 53, Number.NaN]) expect(() => Key.fromSeed(seed)).toThrow(/seed/);
    for (const index of [-1, 0.5, 2 ** 32]) expect(() => Key.fromSeed(0).child(index)).toThrow(/child/);
  });
});

describe('dropout', () => {
  it('keeps the mean, drops the rate, scales the rest', async () => {
    const [n, rate] = [20_000, 0.3];
    const x = await dropout(ones([n]), rate, Key.fromSeed(1).toTensor()).toArray();
    const dropped = mean(x.map((value) => Number(value === 0)));
    expect(Math.abs(dropped - rate)).toBeLessThan(5 * Math.sqrt((rate * (1 - rate)) / n));
    expect(x.every((value) => value === 0 || Math.abs(value - 1 / 0.7) < 1e-7)).toBe(true);
  });
  it('is the identity for rate 0, and refuses rates that drop everything', () => {
    const x = ones([3]);
    expect(dropout(x, 0, Key.fromSeed(1).toTensor())).toBe(x);
    for (const rate of [1, -0.1, Number.NaN])
      expect(() => dropout(x, rate, Key.fromSeed(1).toTensor())).toThrow(/rate/);
  });
});
