import { type Given, integer, listOf, number, options, text } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { EvaluationError } from '../errors.js';
import { assertFinite, isRounding, largest, mean, meanDifference } from './standard-error.js';

/** Options of a bootstrap, to be spread into the declarations of what rests on one. */
export const bootstrapShape = {
  /** Number of resamples. Default 10 000. */
  resamples: integer({ default: 10_000, min: 1 }),
  /** Default 0. */
  seed: integer({ default: 0 }),
  /** Confidence level of the interval. Default 0.95. */
  level: number({ default: 0.95, above: 0, below: 1 }),
};

const pairedBootstrapOptions = options('pairedBootstrap', {
  ...bootstrapShape,
  /** A cluster per pair: whole clusters are resampled. Default: every pair is independent. */
  clusters: listOf(text({}), { optional: true }),
});
/** Options of `pairedBootstrap`. */
export type PairedBootstrapOptions = Given<typeof pairedBootstrapOptions>;

/** The mean difference of pairs and how well it is known. */
export interface PairedDifference {
  /** mean(b) − mean(a). */
  readonly difference: number;
  /** Analytic standard error of the paired differences (clustered when clusters are given); `null` for one unit. */
  readonly standardError: number | null;
  /** Percentile bootstrap interval; `null` where the pairs cannot say how far the difference is known: see `warning`. */
  readonly interval: readonly [low: number, high: number] | null;
  /**
   * Two-sided: how often a resample lies at least as far from the difference as 0 does, (1 + count) / (1 + resamples).
   * Without an interval 1 when the difference is 0, else `null`.
   */
  readonly pValue: number | null;
  readonly pairs: number;
  /** Why there is no interval: fewer than two independent units, or all of them with one difference. Absent otherwise. */
  readonly warning?: string;
}

/**
 * Paired bootstrap of two measurements of the same problems (Efron & Tibshirani 1993, ch. 16; Koehn 2004): the
 * differences b_i − a_i are drawn with replacement, so what makes a problem hard for both cancels.
 * One unit, or units without spread, resample to themselves: that is no certainty, so there is no interval then.
 * @throws OptionError; EvaluationError `UNPAIRED` when the lengths differ or there is no pair; `NOT_FINITE`.
 */
export function pairedBootstrap(
  a: readonly number[],
  b: readonly number[],
  given: PairedBootstrapOptions = {},
): PairedDifference {
  const { resamples, seed, level, clusters } = pairedBootstrapOptions.read(given);
  if (a.length !== b.length || a.length === 0) {
    throw new EvaluationError('UNPAIRED', `pairedBootstrap needs pairs, but got ${a.length} and ${b.length} values.`);
  }
  assertFinite('pairedBootstrap: first', a);
  assertFinite('pairedBootstrap: second', b);
  const differences = b.map((value, i) => value - a[i]!);
  const { standardError } = meanDifference(differences, clusters);
  const difference = mean(differences);
  const pairs = a.length;

  const units = new Map<string | number, { sum: number; count: number }>();
  differences.forEach((d, i) => {
    const key = clusters ? clusters[i]! : i;
    const unit = units.get(key) ?? { sum: 0, count: 0 };
    units.set(key, { sum: unit.sum + d, count: unit.count + 1 });
  });
  const sums = Float64Array.from(units.values(), (unit) => unit.sum);
  const counts = Float64Array.from(units.values(), (unit) => unit.count);
  if (standardError === null || isRounding(standardError, [...a, ...b])) {
    const of = clusters ? 'cluster' : 'pair';
    const why =
      standardError === null
        ? `${sums.length} independent ${of} cannot say how well the difference is known; at least 2 are needed.`
        : `all ${sums.length} ${of}s have the same difference, so they cannot say how well it is known.`;
    return { difference, standardError, interval: null, pValue: difference === 0 ? 1 : null, pairs, warning: why };
  }
  // Ties that differ by rounding only stay on the conservative side.
  const nearest = Math.abs(difference) - 1e-12 * largest([...a, ...b]);
  const random = createRandom(seed, 'pairedBootstrap');
  const means = new Float64Array(resamples);
  let asFar = 0;
  for (let r = 0; r < resamples; r++) {
    let sum = 0;
    let count = 0;
    for (let u = 0; u < sums.length; u++) {
      const drawn = random.integer(0, sums.length - 1);
      sum += sums[drawn]!;
      count += counts[drawn]!;
    }
    means[r] = sum / count;
    if (Math.abs(means[r]! - difference) >= nearest) asFar++;
  }
  means.sort();
  const tail = (1 - level) / 2;
  return {
    difference,
    standardError,
    interval: [quantile(means, tail), quantile(means, 1 - tail)],
    pValue: (1 + asFar) / (1 + resamples),
    pairs,
  };
}

/** Linear interpolation between order statistics, as numpy's default. */
export function quantile(sorted: Float64Array, q: number): number {
  const at = q * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.ceil(at);
  return sorted[low]! + (at - low) * (sorted[high]! - sorted[low]!);
}
