import { type Given, integer, listOf, options, text } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { EvaluationError } from '../errors.js';
import { assertFinite, largest } from './standard-error.js';

const signFlipOptions = options('signFlipTest', {
  /** A cluster per pair: all of its differences flip together. Default: every pair is independent. */
  clusters: listOf(text({}), { optional: true }),
  /** All 2ⁿ flips are tried where there are at most so many, else so many are drawn. Default 10 000. */
  resamples: integer({ default: 10_000, min: 1 }),
  /** Of the draws. Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of `signFlipTest`. */
export type SignFlipOptions = Given<typeof signFlipOptions>;

/** What came of a test by sign flips. */
export interface SignFlipResult {
  /** mean(b) − mean(a). */
  readonly difference: number;
  /** Two-sided. */
  readonly pValue: number;
  /** Whether all flips were tried. */
  readonly exact: boolean;
}

/**
 * The paired permutation test (Fisher 1935): if it makes no difference which run is which, each pair's difference may as well have the other sign.
 * p = the share of flips whose sum is at least as far from 0 as the one observed; of drawn flips (1 + count) / (1 + draws). It assumes nothing
 * about the shape of the differences, and holds for few pairs.
 *
 * @throws OptionError; EvaluationError `UNPAIRED`, `NOT_FINITE`, `BAD_CLUSTERS`
 */
export function signFlipTest(a: readonly number[], b: readonly number[], given: SignFlipOptions = {}): SignFlipResult {
  const { clusters, resamples, seed } = signFlipOptions.read(given);
  if (a.length !== b.length || a.length === 0) {
    throw new EvaluationError('UNPAIRED', `signFlipTest needs pairs, but got ${a.length} and ${b.length} values.`);
  }
  if (clusters && clusters.length !== a.length) {
    throw new EvaluationError('BAD_CLUSTERS', `signFlipTest: ${clusters.length} clusters for ${a.length} pairs.`);
  }
  assertFinite('signFlipTest: first', a);
  assertFinite('signFlipTest: second', b);
  const units = new Map<string | number, number>();
  b.forEach((value, i) => {
    const key = clusters?.[i] ?? i;
    units.set(key, (units.get(key) ?? 0) + value - a[i]!);
  });
  const sums = [...units.values()].filter((sum) => sum !== 0);
  const total = sums.reduce((sum, x) => sum + x, 0);
  const difference = total / a.length;
  // Ties that differ by rounding only count as ties.
  const nearest = Math.abs(total) - 1e-12 * largest([...a, ...b]) * a.length;
  const exact = 2 ** sums.length <= resamples;
  const count = exact ? 2 ** sums.length : resamples;
  const random = createRandom(seed, 'signFlipTest');
  let asFar = 0;
  for (let flip = 0; flip < count; flip++) {
    let sum = 0;
    for (let i = 0; i < sums.length; i++) {
      const isFlipped = exact ? (flip >>> i) & 1 : random.float() < 0.5;
      sum += isFlipped ? -sums[i]! : sums[i]!;
    }
    if (Math.abs(sum) >= nearest) asFar++;
  }
  return { difference, pValue: exact ? asFar / count : (1 + asFar) / (1 + count), exact };
}
