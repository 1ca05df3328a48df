import { type Given, integer, number, options, PosttrainError } from '@posttrain/interfaces';

const shape = {
  /** q: the probability with which each row is in a step, expected batch size / number of rows (Poisson sampling). */
  sampleRate: number({ above: 0, max: 1 }),
  /** Updates made. */
  steps: integer({ min: 1 }),
  /** δ: the probability with which the guarantee may fail; well below 1 / number of rows. */
  delta: number({ above: 0, below: 1 }),
};
const privacyOptions = options('privacySpent', {
  ...shape,
  /** σ of `dpSgd`. */
  noiseMultiplier: number({ above: 0 }),
});
/** Options of `privacySpent`. */
export type PrivacyOptions = Given<typeof privacyOptions>;

/** What training has cost. */
export interface PrivacySpent {
  /**
   * ε of (ε, δ)-differential privacy: adding or leaving out one row changes no probability by more than the factor e^ε,
   * but for δ.
   */
  readonly epsilon: number;
  /** The Rényi order α that gives it. */
  readonly order: number;
}

/** Opacus' orders: 1.1 to 10.9 by tenths, and 12 to 63. */
const ORDERS = [
  ...Array.from({ length: 99 }, (_, i) => 1 + (i + 1) / 10),
  ...Array.from({ length: 52 }, (_, i) => 12 + i),
];

/**
 * What `steps` updates of `dpSgd` cost, by the accountant of Rényi differential privacy: ε = min over orders α of T ·
 * rdp(α) + log((α - 1) / α) - (log δ + log α) / (α - 1) (arXiv 1702.07476, with the conversion of arXiv 2004.00010). It
 * holds for rows that are drawn anew for each step with probability q each: `sft({ sampling: 'poisson' })`, where q is batchSize /
 * number of rows. Shuffled epochs of fixed batches are reported so by custom and have no such proof.
 */
export function privacySpent(given: PrivacyOptions): PrivacySpent {
  const { delta, ...run } = privacyOptions.read(given);
  return spentOf(renyiCosts(run), delta);
}

/** Rényi divergences of a run, of each of the orders: those of several runs over the same rows add up. */
export const renyiCosts = ({
  sampleRate,
  noiseMultiplier,
  steps,
}: Pick<PrivacyOptions, 'sampleRate' | 'noiseMultiplier' | 'steps'>): number[] =>
  ORDERS.map((order) => steps * renyiDivergence(sampleRate, noiseMultiplier, order));

/** The least ε that the divergences of the orders give with δ. */
export function spentOf(costs: readonly number[], delta: number): PrivacySpent {
  let best: PrivacySpent = { epsilon: Number.POSITIVE_INFINITY, order: Number.NaN };
  for (const [i, order] of ORDERS.entries()) {
    const converted = costs[i]! + Math.log((order - 1) / order) - (Math.log(delta) + Math.log(order)) / (order - 1);
    const epsilon = Math.max(0, converted);
    if (epsilon < best.epsilon) best = { epsilon, order };
  }
  return best;
}

const targetOptions = options('noiseMultiplierFor', {
  ...shape,
  /** ε that may be spent. */
  epsilon: number({ above: 0 }),
});
/** Options of `noiseMultiplierFor`. */
export type NoiseMultiplierOptions = Given<typeof targetOptions>;

const LARGEST_NOISE = 1e6;

/**
 * The smallest noise multiplier σ, to three digits, with which `privacySpent` is at most ε.
 *
 * @throws OptionError; PosttrainError PRIVACY where no noise is enough
 */
export function noiseMultiplierFor(given: NoiseMultiplierOptions): number {
  const { epsilon, ...spending } = targetOptions.read(given);
  const isEnough = (noiseMultiplier: number) => privacySpent({ ...spending, noiseMultiplier }).epsilon <= epsilon;
  let [low, high] = [0, 1];
  while (!isEnough(high)) {
    [low, high] = [high, high * 2];
    if (high > LARGEST_NOISE) {
      throw new PosttrainError('PRIVACY', `noiseMultiplierFor: no noise gives ε ${epsilon} with δ ${spending.delta}`);
    }
  }
  while (high - low > 1e-3 * high) {
    const middle = (low + high) / 2;
    if (isEnough(middle)) high = middle;
    else low = middle;
  }
  return high;
}

/**
 * The Rényi divergence of order α of one step: of the Gaussian mechanism whose rows are sampled with rate q (arXiv
 * 1908.10530), in nats. α / 2σ² where q is 1.
 */
export function renyiDivergence(q: number, noiseMultiplier: number, order: number): number {
  const variance = noiseMultiplier ** 2;
  if (q === 1) return order / (2 * variance);
  return (Number.isInteger(order) ? wholeMoment : fractionalMoment)(q, variance, order) / (order - 1);
}

/** log E[(ν / μ)^α] of a whole order α: a binomial sum (section 3.3 there). */
function wholeMoment(q: number, variance: number, order: number): number {
  let [total, binomial] = [Number.NEGATIVE_INFINITY, 0];
  for (let k = 0; k <= order; k++) {
    const term = binomial + k * Math.log(q) + (order - k) * Math.log1p(-q) + (k * k - k) / (2 * variance);
    total = logAdd(total, term);
    binomial += Math.log(order - k) - Math.log(k + 1);
  }
  return total;
}

/** Terms below e^-30 of the sum change no digit that is shown. */
const SMALLEST_TERM = -30;

/**
 * The same of any order: two series, of the parts of the integral on both sides of z = ½ + σ² log(1/q - 1), where its
 * two densities are equal. Their binomials change signs from α on.
 */
function fractionalMoment(q: number, variance: number, order: number): number {
  const deviation = Math.sqrt(variance);
  const middle = 0.5 + variance * Math.log(1 / q - 1);
  let [positive, negative] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  let [binomial, sign] = [0, 1];
  for (let k = 0; ; k++) {
    const rest = order - k;
    const part = (i: number, j: number, distance: number) =>
      i * Math.log(q) +
      j * Math.log1p(-q) +
      (i * i - i) / (2 * variance) +
      Math.log(0.5) +
      logErfc(distance / (Math.SQRT2 * deviation));
    const term = binomial + logAdd(part(k, rest, k - middle), part(rest, k, middle - rest));
    if (sign > 0) positive = logAdd(positive, term);
    else negative = logAdd(negative, term);
    const total = logSubtract(positive, negative);
    if (k > order && term < total + SMALLEST_TERM) return total;
    binomial += Math.log(Math.abs(rest)) - Math.log(k + 1);
    if (rest < 0) sign = -sign;
  }
}

/** log(e^a + e^b). */
function logAdd(a: number, b: number): number {
  const [low, high] = a < b ? [a, b] : [b, a];
  return low === Number.NEGATIVE_INFINITY ? high : high + Math.log1p(Math.exp(low - high));
}

/** log(e^a - e^b), for a > b. */
const logSubtract = (a: number, b: number): number =>
  b === Number.NEGATIVE_INFINITY ? a : a + Math.log1p(-Math.exp(b - a));

/** log erfc(x), also where erfc(x) is too small for a number. */
function logErfc(x: number): number {
  if (x < 0) return Math.log(2 - Math.exp(logErfc(-x)));
  if (x < 2) {
    // erf(x) = 2/√π e^(-x²) Σ 2ⁿ x^(2n+1) / (2n+1)!!
    let [term, sum] = [x, x];
    for (let n = 1; term > 1e-18 * sum; n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return Math.log1p((-2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum);
  }
  // Laplace's continued fraction: erfc(x) = e^(-x²) / √π · 1 / (x + ½ / (x + 1 / (x + 3/2 / (x + …)))).
  let fraction = x;
  for (let n = 120; n >= 1; n--) fraction = x + n / 2 / fraction;
  return -x * x - Math.log(fraction) - Math.log(Math.PI) / 2;
}
