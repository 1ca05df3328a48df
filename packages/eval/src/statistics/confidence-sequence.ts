import { type Given, number, options } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';

const confidenceSequenceOptions = options('confidenceSequence', {
  /** Least value. Default 0. */
  low: number({ default: 0 }),
  /** Greatest value. Default 1; of differences of two right-or-wrong scores, low is −1 and high is 1. */
  high: number({ default: 1 }),
  /** The chance that the sequence ever leaves the mean out. Default 0.05. */
  alpha: number({ default: 0.05, above: 0, below: 1 }),
});
/** Options of `confidenceSequence`. */
export type ConfidenceSequenceOptions = Given<typeof confidenceSequenceOptions>;

/**
 * An interval of the mean after each value, all of which hold at once with chance 1 − α: one may look after every problem and stop when one likes. The
 * empirical-Bernstein sequence with predictable plug-ins (Waudby-Smith and Ramdas, arXiv 2010.09686, theorem 2), of values in [0, 1]:
 *
 *   Σ λ_i x_i / Σ λ_i ± (ln(2/α) + Σ v_i ψ(λ_i)) / Σ λ_i,  v_i = 4 (x_i − μ̂_{i−1})²,  ψ(λ) = (−ln(1 − λ) − λ) / 4,
 *   λ_t = min(√(2 ln(2/α) / (σ̂²_{t−1} t ln(1 + t))), ½),  σ̂²_t = (¼ + Σ (x_i − μ̂_i)²) / (t + 1),  μ̂_t = (½ + Σ x_i) / (t + 1)
 *
 * Intervals are cut with those before them. They are wider than those of one look, about twice as wide at the end; a plan of a few looks
 * (`groupSequential`) costs less.
 *
 * @throws OptionError; EvaluationError `BAD_RANGE`, and `OUT_OF_RANGE` for a value outside `low` to `high`
 */
export function confidenceSequence(
  values: readonly number[],
  given: ConfidenceSequenceOptions = {},
): (readonly [low: number, high: number])[] {
  const { low, high, alpha } = confidenceSequenceOptions.read(given);
  if (!(low < high)) throw new EvaluationError('BAD_RANGE', `confidenceSequence: low is ${low} and high ${high}.`);
  const out = values.findIndex((x) => !(x >= low && x <= high));
  if (out >= 0) {
    throw new EvaluationError(
      'OUT_OF_RANGE',
      `confidenceSequence: value ${out} is ${values[out]}; it must be from ${low} to ${high}.`,
    );
  }
  const log = Math.log(2 / alpha);
  let [sum, squares, weighted, weights, spread] = [0, 0, 0, 0, 0];
  let [before, variance] = [0.5, 0.25];
  let [least, most] = [0, 1];
  return values.map((value, i) => {
    const x = (value - low) / (high - low);
    const t = i + 1;
    const lambda = Math.min(Math.sqrt((2 * log) / (variance * t * Math.log1p(t))), 0.5);
    weights += lambda;
    weighted += lambda * x;
    spread += (x - before) ** 2 * (-Math.log1p(-lambda) - lambda);
    sum += x;
    before = (0.5 + sum) / (t + 1);
    squares += (x - before) ** 2;
    variance = (0.25 + squares) / (t + 1);
    const [centre, half] = [weighted / weights, (log + spread) / weights];
    least = Math.max(least, centre - half);
    most = Math.min(most, centre + half);
    return [low + least * (high - low), low + most * (high - low)] as const;
  });
}
