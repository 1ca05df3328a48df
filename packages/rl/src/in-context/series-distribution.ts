import { SeriesError } from './series-error.js';

/** What comes next, as masses of the 10^digits cells of [0, 10), in order; within a cell all is alike. They sum to 1. */
export type CellMasses = Float64Array;

/**
 * The hierarchical softmax over digits (llmICL, arXiv 2402.00795): the mass of a number is the product of the probabilities of its digits, each
 * given those before it. Where a model was not asked how a number goes on, the mass of the first digits is spread over all that go on from them.
 *
 * @param conditional ten probabilities (or weights) of the digit after a prefix, [] at first; undefined: not asked
 * @throws SeriesError for weights that are not ten, or not of a distribution
 */
export function hierarchicalDistribution(
  digits: number,
  conditional: (prefix: readonly number[]) => ArrayLike<number> | undefined,
): CellMasses {
  const masses = new Float64Array(10 ** digits);
  const spread = (prefix: readonly number[], from: number, count: number, mass: number): void => {
    const weights = mass > 0 && count > 1 ? conditional(prefix) : undefined;
    if (!weights) {
      masses.fill(mass / count, from, from + count);
      return;
    }
    const next = normalized(weights, 10, `hierarchicalDistribution, after [${prefix.join(', ')}]`);
    for (let digit = 0; digit < 10; digit++)
      spread([...prefix, digit], from + (digit * count) / 10, count / 10, mass * next[digit]!);
  };
  spread([], 0, masses.length, 1);
  return masses;
}

/** Weights divided by their sum. @throws SeriesError unless there are `count`, none below 0 and some above */
export function normalized(weights: ArrayLike<number>, count: number, where: string): Float64Array {
  const given = Float64Array.from(weights);
  const sum = given.reduce((a, b) => a + b, 0);
  if (given.length !== count || !(sum > 0 && sum < Number.POSITIVE_INFINITY) || given.some((p) => !(p >= 0)))
    throw new SeriesError(where, `it needs ${count} weights that are no less than 0 and not all 0`);
  return given.map((p) => p / sum);
}

/** The edges of cell i of n. */
const edge = (i: number, n: number): number => (10 * i) / n;
const middle = (i: number, n: number): number => (10 * (i + 0.5)) / n;

/** The mean, the standard deviation about it and the middle of the likeliest cell, in [0, 10). */
export function statisticsOf(masses: CellMasses): {
  readonly mean: number;
  readonly mode: number;
  readonly std: number;
} {
  const n = masses.length;
  let [mean, square, mode] = [0, 0, 0];
  masses.forEach((p, i) => {
    mean += p * middle(i, n);
    if (p > masses[mode]!) mode = i;
  });
  masses.forEach((p, i) => {
    square += p * (middle(i, n) - mean) ** 2;
  });
  // The variance within a cell of even density is width² / 12.
  return { mean, mode: middle(mode, n), std: Math.sqrt(square + (10 / n) ** 2 / 12) };
}

/** P(X ≤ x), linear within a cell. */
export function cumulative(masses: CellMasses, x: number): number {
  const n = masses.length;
  let below = 0;
  for (let i = 0; i < n; i++) {
    const share = (x - edge(i, n)) / (10 / n);
    if (share >= 1) below += masses[i]!;
    else return below + masses[i]! * Math.max(0, share);
  }
  return Math.min(1, below);
}

/** The number that a share of the mass lies below, linear within a cell: F⁻¹(p) with p from 0 to 1. */
export function quantile(masses: CellMasses, p: number): number {
  const n = masses.length;
  let [below, end] = [0, 0];
  for (let i = 0; i < n; i++) {
    const mass = masses[i]!;
    if (mass > 0 && below + mass >= p) return edge(i, n) + ((p - below) / mass) * (10 / n);
    if (mass > 0) end = edge(i + 1, n);
    below += mass;
  }
  // All of the mass, which rounding has left a little below p.
  return end;
}
