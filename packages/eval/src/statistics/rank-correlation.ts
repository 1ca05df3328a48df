import { type Given, oneOf, options } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { EvaluationError } from '../errors.js';
import { bootstrapShape } from './paired-bootstrap.js';
import { pearson } from './pearson.js';
import { assertFinite } from './standard-error.js';

const rankOptions = options('rankCorrelation', {
  /** Spearman's ρ (of mean ranks), or Kendall's τ-b (which corrects for ties). Default `spearman`. */
  kind: oneOf(['spearman', 'kendall'], { default: 'spearman' }),
  ...bootstrapShape,
});
/** Options of `rankCorrelation`. */
export type RankCorrelationOptions = Given<typeof rankOptions>;

/** How alike two orders are. */
export interface RankCorrelation {
  /** From −1 to 1; `null` where all of one are equal. */
  readonly value: number | null;
  /** Percentile bootstrap over pairs; `null` with fewer than 4 of them, or without spread. Wide with few: ten models say little. */
  readonly interval: readonly [low: number, high: number] | null;
  readonly pairs: number;
}

/**
 * Correlation of ranks: whether a benchmark orders models as something else does.
 *
 * @throws OptionError; EvaluationError `UNPAIRED` for lists of other lengths or fewer than two, `NOT_FINITE`
 */
export function rankCorrelation(
  a: readonly number[],
  b: readonly number[],
  given: RankCorrelationOptions = {},
): RankCorrelation {
  const { kind, resamples, seed, level } = rankOptions.read(given);
  if (a.length !== b.length || a.length < 2)
    throw new EvaluationError(
      'UNPAIRED',
      `rankCorrelation: ${a.length} and ${b.length} values; give two pairs or more.`,
    );
  assertFinite('rankCorrelation: first,', a);
  assertFinite('rankCorrelation: second,', b);
  const of = kind === 'spearman' ? spearman : kendall;
  const value = of(a, b);
  const pairs = a.length;
  if (value === null || pairs < 4) return { value, interval: null, pairs };
  const random = createRandom(seed, 'rankCorrelation');
  const drawn: number[] = [];
  for (let r = 0; r < resamples; r++) {
    const places = a.map(() => random.integer(0, pairs - 1));
    const found = of(
      places.map((i) => a[i]!),
      places.map((i) => b[i]!),
    );
    if (found !== null) drawn.push(found);
  }
  drawn.sort((x, y) => x - y);
  const at = (p: number): number => drawn[Math.round(p * (drawn.length - 1))]!;
  const [low, high] = [at((1 - level) / 2), at((1 + level) / 2)];
  return { value, interval: drawn.length < 2 || low === high ? null : [low, high], pairs };
}

const spearman = (a: readonly number[], b: readonly number[]): number | null => pearson(ranksOf(a), ranksOf(b));

/** Ranks from 1; equal values have the mean of theirs. */
function ranksOf(values: readonly number[]): Float64Array {
  const order = values.map((_, i) => i).sort((i, j) => values[i]! - values[j]!);
  const ranks = new Float64Array(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start;
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (let k = start; k < end; k++) ranks[order[k]!] = (start + end + 1) / 2;
    start = end;
  }
  return ranks;
}

function kendall(a: readonly number[], b: readonly number[]): number | null {
  let [both, one, other] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j < i; j++) {
      const [u, v] = [Math.sign(a[i]! - a[j]!), Math.sign(b[i]! - b[j]!)];
      both += u * v;
      one += u * u;
      other += v * v;
    }
  }
  return one === 0 || other === 0 ? null : both / Math.sqrt(one * other);
}
