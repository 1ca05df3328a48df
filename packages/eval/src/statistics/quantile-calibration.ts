import { type Given, integer, options } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';

const calibrationOptions = options('quantileCalibration', {
  /** Points of the curve between 0 and 1: 9 are the deciles. Default 9. */
  levels: integer({ default: 9, min: 1 }),
});
/** Options of `quantileCalibration`. */
export type QuantileCalibrationOptions = Given<typeof calibrationOptions>;

/** Whether quantiles that were stated are what they say. */
export interface QuantileCalibration {
  /** For each level p, the share of values that lie at or below their stated quantile F⁻¹(p): p where all is well. */
  readonly curve: readonly { readonly level: number; readonly observed: number }[];
  /** The Kolmogorov-Smirnov distance of F(y) from uniform, sup_p |observed(p) − p|: 0 to 1. */
  readonly ks: number;
  /** The probability of such a distance or a larger one if the quantiles were right, Kolmogorov's for many values. */
  readonly pValue: number;
  readonly count: number;
}

/**
 * Calibration of stated distributions (arXiv 1807.00263; as in DICL, arXiv 2410.11711): if F_i is right for y_i, the F_i(y_i) are uniform. The curve is their
 * cumulative share, and `ks` its greatest distance from the diagonal, D = max_i max(i/n − u_(i), u_(i) − (i−1)/n); √n D is of Kolmogorov's law where all is
 * well.
 *
 * @param transforms F_i(y_i), from 0 to 1: of a density, its cumulative share at what came; of draws, `shareBelow`
 * @throws OptionError; EvaluationError `NO_VALUES`, and `BAD_PROBABILITY` for what is not from 0 to 1
 */
export function quantileCalibration(
  transforms: readonly number[],
  given: QuantileCalibrationOptions = {},
): QuantileCalibration {
  const { levels } = calibrationOptions.read(given);
  const count = transforms.length;
  if (count === 0) throw new EvaluationError('NO_VALUES', 'quantileCalibration: there are no values.');
  const bad = transforms.findIndex((u) => !(u >= 0 && u <= 1));
  if (bad >= 0)
    throw new EvaluationError(
      'BAD_PROBABILITY',
      `quantileCalibration: value ${bad} is ${transforms[bad]}; F(y) is from 0 to 1.`,
    );
  const sorted = [...transforms].sort((a, b) => a - b);
  const ks = sorted.reduce((most, u, i) => Math.max(most, (i + 1) / count - u, u - i / count), 0);
  const curve = Array.from({ length: levels }, (_, i) => {
    const level = (i + 1) / (levels + 1);
    return { level, observed: sorted.filter((u) => u <= level).length / count };
  });
  return { curve, ks, pValue: kolmogorov(Math.sqrt(count) * ks), count };
}

/** F(y) of a distribution that is known by draws: the share below y, of those equal to it the half. @throws EvaluationError `NO_VALUES` */
export function shareBelow(draws: readonly number[], value: number): number {
  if (draws.length === 0) throw new EvaluationError('NO_VALUES', 'shareBelow: there are no draws.');
  return draws.reduce((sum, x) => sum + (x < value ? 1 : x === value ? 0.5 : 0), 0) / draws.length;
}

/** P(K > x) of Kolmogorov's law: 2 Σ_j (−1)^(j−1) e^(−2 j² x²), or where x is small 1 − √(2π)/x Σ_j e^(−(2j−1)² π² / 8x²). */
function kolmogorov(x: number): number {
  if (x < 0.04) return 1;
  let sum = 0;
  if (x < 1) {
    for (let j = 1; j <= 20; j++) sum += Math.exp((-((2 * j - 1) ** 2) * Math.PI ** 2) / (8 * x * x));
    return Math.min(1, Math.max(0, 1 - (Math.sqrt(2 * Math.PI) / x) * sum));
  }
  for (let j = 1; j <= 20; j++) sum += (j % 2 === 1 ? 2 : -2) * Math.exp(-2 * j * j * x * x);
  return Math.min(1, Math.max(0, sum));
}
