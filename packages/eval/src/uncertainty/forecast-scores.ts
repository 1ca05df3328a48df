import { EvaluationError } from '../errors.js';
import { normalCdf } from '../statistics/distributions.js';
import { assertFinite } from '../statistics/standard-error.js';

/**
 * The continuous ranked probability score of draws (Gneiting and Raftery 2007), E|X − y| − ½ E|X − X′|, in the unit of y; lower is better, and of one draw it is its distance. As
 * `crps_ensemble` of properscoring, X′ among the same draws; `fair` leaves each draw out of its own pairs, which is without bias for few draws.
 *
 * @throws EvaluationError `NO_VALUES`, `NOT_FINITE`
 */
export function crps(
  draws: readonly number[],
  value: number,
  { fair = false }: { readonly fair?: boolean } = {},
): number {
  const n = draws.length;
  if (n < (fair ? 2 : 1))
    throw new EvaluationError('NO_VALUES', `crps: ${n} draws are too few${fair ? ' to be fair' : ''}.`);
  assertFinite('crps:', [...draws, value]);
  const sorted = [...draws].sort((a, b) => a - b);
  const distance = sorted.reduce((sum, x) => sum + Math.abs(x - value), 0) / n;
  // Σ_{i<j} (x_(j) − x_(i)) by ranks.
  const spread = sorted.reduce((sum, x, i) => sum + (2 * i - n + 1) * x, 0);
  return distance - spread / (n * (fair ? n - 1 : n));
}

/**
 * `crps` of a normal distribution in closed form: σ (z (2Φ(z) − 1) + 2φ(z) − 1/√π), z = (y − μ)/σ.
 *
 * @throws EvaluationError `NOT_FINITE`; `BAD_DEVIATION` unless it is above 0
 */
export function crpsOfNormal(mean: number, deviation: number, value: number): number {
  assertFinite('crpsOfNormal:', [mean, deviation, value]);
  if (!(deviation > 0))
    throw new EvaluationError('BAD_DEVIATION', `crpsOfNormal: the deviation is ${deviation}; it must be above 0.`);
  const z = (value - mean) / deviation;
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  return deviation * (z * (2 * normalCdf(z) - 1) + 2 * density - 1 / Math.sqrt(Math.PI));
}

/**
 * The loss of a stated quantile (pinball loss): p (y − q) above it, (1 − p)(q − y) below; least, on average, at the true quantile.
 *
 * @param level p, between 0 and 1
 * @throws EvaluationError `BAD_LEVEL`, `NOT_FINITE`
 */
export function quantileLoss(quantile: number, value: number, level: number): number {
  if (!(level > 0 && level < 1))
    throw new EvaluationError('BAD_LEVEL', `quantileLoss: level is ${level}; it must lie between 0 and 1.`);
  assertFinite('quantileLoss:', [quantile, value]);
  return Math.max(level * (value - quantile), (level - 1) * (value - quantile));
}

/**
 * The ranked probability score of ordered classes (Epstein 1969), Σ_c (F_c − 1[gold ≤ c])²: near misses cost less than far ones. 0 to the number of classes less one.
 *
 * @param probabilities of each class in order, which add up to 1
 * @throws EvaluationError `BAD_PROBABILITY`
 */
export function rankedProbabilityScore(probabilities: readonly number[], gold: number): number {
  const total = probabilities.reduce((sum, p) => sum + p, 0);
  if (!(Math.abs(total - 1) < 1e-6) || !probabilities.every((p) => p >= 0) || probabilities[gold] === undefined) {
    const rule = 'probabilities are not negative, add up to 1 and have the class that came';
    throw new EvaluationError(
      'BAD_PROBABILITY',
      `rankedProbabilityScore: [${probabilities}] of class ${gold}; ${rule}.`,
    );
  }
  let [cumulative, score] = [0, 0];
  probabilities.forEach((p, c) => {
    cumulative += p;
    score += (cumulative - Number(gold <= c)) ** 2;
  });
  return score;
}
