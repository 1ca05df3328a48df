import { type Given, integer, number, oneOf, options } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { EvaluationError } from '../../errors.js';
import { sortedLabels } from './cohen-kappa.js';

const krippendorffOptions = options('krippendorffAlpha', {
  /** What values are: names (`nominal`), ranks (`ordinal`), numbers whose differences (`interval`) or ratios (`ratio`) mean something. */
  level: oneOf(['nominal', 'ordinal', 'interval', 'ratio'], { default: 'nominal' }),
  /** Resamples of items for the interval; 0: none. Default 1000. */
  resamples: integer({ default: 1000, min: 0 }),
  /** Default 0. */
  seed: integer({ default: 0 }),
  /** Confidence level of the interval. Default 0.95. */
  confidence: number({ default: 0.95, above: 0, below: 1 }),
});
/** Options of `krippendorffAlpha`. */
export type KrippendorffOptions = Given<typeof krippendorffOptions>;

/** Krippendorff's α and how well it is known. */
export interface KrippendorffAlpha {
  /** 1: all agree; 0: as by chance; `null` where all values are one, or no item has two. */
  readonly value: number | null;
  /** Percentile bootstrap over items; `null` without resamples, value or spread. */
  readonly interval: readonly [low: number, high: number] | null;
  /** Items with two values or more: others say nothing. */
  readonly items: number;
  /** Their values. */
  readonly values: number;
}

/**
 * Krippendorff's α of any number of raters, with missing values (Krippendorff 2011, "Computing Krippendorff's alpha-reliability"):
 * α = 1 − D_o / D_e, with coincidences o_ck = Σ_u (pairs of values c and k in item u) / (m_u − 1), n_c = Σ_k o_ck, n = Σ n_c,
 *
 *   α = 1 − (n − 1) Σ_{c<k} o_ck δ²_ck / Σ_{c<k} n_c n_k δ²_ck
 *
 * δ² is 1 (nominal), (c − k)² (interval), ((c − k) / (c + k))² (ratio), or (Σ_{g=c}^{k} n_g − (n_c + n_k) / 2)² (ordinal).
 *
 * @param ratings a list an item, with the value of each rater or `null` where there is none; numbers unless `nominal`
 * @throws OptionError; EvaluationError `NOT_FINITE` for a value that is no number, and for ratios below 0
 */
export function krippendorffAlpha(
  ratings: readonly (readonly (string | number | null)[])[],
  given: KrippendorffOptions = {},
): KrippendorffAlpha {
  const { level, resamples, seed, confidence } = krippendorffOptions.read(given);
  const units = ratings
    .map((values) => values.filter((value): value is string | number => value !== null))
    .filter(({ length }) => length > 1);
  if (level !== 'nominal') {
    for (const value of units.flat()) {
      if (typeof value === 'number' && Number.isFinite(value) && !(level === 'ratio' && value < 0)) continue;
      throw new EvaluationError(
        'NOT_FINITE',
        `krippendorffAlpha: ${value} is no ${level} value; give finite numbers${level === 'ratio' ? ' of at least 0' : ''}.`,
      );
    }
  }
  const labels = sortedLabels(units.flat());
  const place = new Map(labels.map((label, i) => [label, i]));
  const coded = units.map((values) => values.map((value) => place.get(String(value))!));
  const of = (some: readonly (readonly number[])[]): number | null => alphaOf(some, labels, level);
  const value = of(coded);
  const count = coded.reduce((sum, { length }) => sum + length, 0);
  if (value === null || resamples === 0 || coded.length < 2)
    return { value, interval: null, items: coded.length, values: count };
  const random = createRandom(seed, 'krippendorffAlpha');
  const drawn: number[] = [];
  for (let r = 0; r < resamples; r++) {
    const alpha = of(coded.map(() => coded[random.integer(0, coded.length - 1)]!));
    if (alpha !== null) drawn.push(alpha);
  }
  drawn.sort((a, b) => a - b);
  const at = (p: number): number => drawn[Math.min(drawn.length - 1, Math.max(0, Math.round(p * (drawn.length - 1))))]!;
  const tail = (1 - confidence) / 2;
  const interval = drawn.length < 2 || at(tail) === at(1 - tail) ? null : ([at(tail), at(1 - tail)] as const);
  return { value, interval, items: coded.length, values: count };
}

function alphaOf(
  units: readonly (readonly number[])[],
  labels: readonly string[],
  level: 'nominal' | 'ordinal' | 'interval' | 'ratio',
): number | null {
  const count = labels.length;
  const coincidences = Array.from({ length: count }, () => new Float64Array(count));
  for (const values of units) {
    const counts = new Map<number, number>();
    for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
    for (const [c, times] of counts) {
      for (const [k, others] of counts) {
        coincidences[c]![k]! += (times * (others - Number(c === k))) / (values.length - 1);
      }
    }
  }
  const totals = coincidences.map((row) => row.reduce((sum, x) => sum + x, 0));
  const all = totals.reduce((sum, x) => sum + x, 0);
  const numbers = labels.map(Number);
  const distance = (c: number, k: number): number => {
    if (level === 'nominal') return 1;
    if (level === 'ordinal') {
      let between = -(totals[c]! + totals[k]!) / 2;
      for (let g = c; g <= k; g++) between += totals[g]!;
      return between * between;
    }
    const difference = numbers[c]! - numbers[k]!;
    if (level === 'interval') return difference * difference;
    return (difference / (numbers[c]! + numbers[k]!)) ** 2;
  };
  let observed = 0;
  let expected = 0;
  for (let c = 0; c < count; c++) {
    for (let k = c + 1; k < count; k++) {
      const d = distance(c, k);
      observed += coincidences[c]![k]! * d;
      expected += totals[c]! * totals[k]! * d;
    }
  }
  return expected === 0 ? null : 1 - ((all - 1) * observed) / expected;
}
