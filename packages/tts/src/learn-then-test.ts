import { assertArgument, custom, type Given, listOf, number, oneOf, options } from '@posttrain/interfaces';

const isLosses = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.every((row) => Array.isArray(row) && row.every((loss) => typeof loss === 'number' && loss >= 0 && loss <= 1));

const learnThenTestOptions = options('learnThenTest', {
  /** Λ: thresholds in the order in which they are tested, the most careful first. */
  thresholds: listOf(number({}), {}),
  /** For each threshold the losses of the calibration examples, from 0 to 1: as many for all, drawn independently of each other. */
  losses: custom<readonly (readonly number[])[]>()('a list of losses from 0 to 1 for each threshold', isLosses, {}),
  /** δ: the expected loss that is allowed. */
  tolerance: number({ above: 0, below: 1 }),
  /** ε: the probability, over calibration sets, that the chosen threshold has more. Default 0.05. */
  level: number({ default: 0.05, above: 0, below: 1 }),
  /**
   * Which valid p-value: of Hoeffding's inequality, as CALM has it, or the smaller of Hoeffding's in its tight form and Bentkus's, which certifies
   * more. Default `hoeffding-bentkus`.
   */
  bound: oneOf(['hoeffding', 'hoeffding-bentkus'], { default: 'hoeffding-bentkus' }),
});
/** Options of `learnThenTest`. */
export type LearnThenTestOptions = Given<typeof learnThenTestOptions>;

/** A threshold that was tested. */
export interface TestedThreshold {
  readonly threshold: number;
  /** R̂: its mean loss on the calibration examples. */
  readonly risk: number;
  /** Of the hypothesis that its expected loss is more than δ. */
  readonly pValue: number;
}

/** What `learnThenTest` gives. */
export interface CalibratedThreshold {
  /** The last one that is certified; `null`: not even the first is, and nothing may be spared. */
  readonly threshold: number | null;
  /** Those that were tested: all that are certified, and the first that is not. */
  readonly tested: readonly TestedThreshold[];
}

/**
 * Calibration of a threshold of confidence by Learn-then-Test (arXiv 2110.01052) with fixed-sequence testing, as CALM does it (arXiv 2207.07061 §4,
 * algorithm 1). The hypotheses E L(λ_j) > δ are tested in the given order, each at the whole level ε; the first that is not rejected ends it, and
 * the threshold before it is chosen, so that over draws of the calibration examples
 *
 *   P(E L(λ̂) > δ) ≤ ε,   rejected where p_j ≤ ε:   p_j = exp(−2 n (δ − R̂_j)₊²)                                       (`hoeffding`)
 *                                                    p_j = min(exp(−n h(min(R̂_j, δ), δ)), e P(Bin(n, δ) ≤ ⌈n R̂_j⌉))   (`hoeffding-bentkus`)
 *
 * with R̂_j the mean loss of n examples and h(a, b) = a ln(a / b) + (1 − a) ln((1 − a) / (1 − b)). No distribution is assumed, and the losses
 * need not fall or rise with the threshold: an order in which they do only certifies more. A loss is anything from 0 to 1: whether a text differs from the one
 * that was not cut short (`earlyExit`, `deer`), or how much worse it scores.
 *
 * @throws OptionError, and for losses that are not as many for every threshold
 */
export function learnThenTest(given: LearnThenTestOptions): CalibratedThreshold {
  const { thresholds, losses, tolerance, level, bound } = learnThenTestOptions.read(given);
  const { where } = learnThenTestOptions;
  const count = losses[0]?.length ?? 0;
  const isWhole = losses.length === thresholds.length && count > 0 && losses.every((row) => row.length === count);
  const wanted = `${thresholds.length} lists, one a threshold, of one loss or more and as many each`;
  assertArgument(where, 'losses', losses, isWhole && thresholds.length > 0, wanted);
  const pValue = bound === 'hoeffding' ? hoeffding : hoeffdingBentkus;
  const tested: TestedThreshold[] = [];
  let chosen: number | null = null;
  for (const [j, threshold] of thresholds.entries()) {
    const risk = losses[j]!.reduce((sum, loss) => sum + loss, 0) / count;
    const p = pValue(risk, count, tolerance);
    tested.push({ threshold, risk, pValue: p });
    if (p > level) break;
    chosen = threshold;
  }
  return { threshold: chosen, tested };
}

const hoeffding = (risk: number, n: number, tolerance: number): number =>
  Math.exp(-2 * n * Math.max(0, tolerance - risk) ** 2);

function hoeffdingBentkus(risk: number, n: number, tolerance: number): number {
  const a = Math.min(risk, tolerance);
  const divergence = (a === 0 ? 0 : a * Math.log(a / tolerance)) + (1 - a) * Math.log((1 - a) / (1 - tolerance));
  // Rounding: a sum of whole losses divided by n and multiplied by it again is not quite whole.
  const most = Math.ceil(n * risk - 1e-9);
  return Math.min(1, Math.exp(-n * divergence), Math.E * binomialCdf(most, n, tolerance));
}

/** P(Bin(n, p) ≤ k). */
function binomialCdf(k: number, n: number, p: number): number {
  if (k >= n) return 1;
  // In logarithms: (1 − p)^n is 0 in doubles where n is large.
  let term = n * Math.log1p(-p);
  let sum = 0;
  for (let i = 0; i <= k; i++) {
    sum += Math.exp(term);
    term += Math.log(((n - i) / (i + 1)) * (p / (1 - p)));
  }
  return Math.min(1, sum);
}
