import { EvaluationError } from '../errors.js';
import { Z_95 } from './standard-error.js';

/** An effect in one study, domain or task. */
export interface Effect {
  readonly value: number;
  /** Above 0. */
  readonly standardError: number;
}

/** An effect over domains, and how far domains differ. */
export interface RandomEffects {
  /** The mean effect over domains of which these are a sample. */
  readonly value: number;
  readonly standardError: number;
  readonly interval: readonly [low: number, high: number];
  /** τ²: the variance of the effect between domains. */
  readonly between: number;
  /** Cochran's Q and I² = max(0, (Q − (k − 1)) / Q): the share of the spread that is not the effects' own errors. */
  readonly q: number;
  readonly iSquared: number;
}

/**
 * A random-effects mean (DerSimonian and Laird 1986): w_i = 1 / s_i², Q = Σ w_i (y_i − ȳ)², τ² = max(0, (Q − (k − 1)) / (Σ w − Σ w² / Σ w)), and the mean with weights 1 / (s_i² + τ²). One large domain
 * does not speak for all, as it would in a mean over all problems.
 *
 * @throws EvaluationError `NO_RECORDS` for fewer than two effects, `NOT_FINITE`
 */
export function randomEffects(effects: readonly Effect[]): RandomEffects {
  const count = effects.length;
  if (count < 2)
    throw new EvaluationError(
      'NO_RECORDS',
      `randomEffects: there ${count === 1 ? 'is one effect' : 'are no effects'}; a claim over domains needs two or more.`,
    );
  const bad = effects.findIndex(
    ({ value, standardError }) => !(Number.isFinite(value) && Number.isFinite(standardError) && standardError > 0),
  );
  if (bad >= 0)
    throw new EvaluationError(
      'NOT_FINITE',
      `randomEffects: effect ${bad} is ${effects[bad]!.value} ± ${effects[bad]!.standardError}; give finite values and errors above 0.`,
    );
  const weighted = (between: number) => {
    const weights = effects.map(({ standardError: s }) => 1 / (s * s + between));
    const total = weights.reduce((sum, w) => sum + w, 0);
    const value = effects.reduce((sum, effect, i) => sum + weights[i]! * effect.value, 0) / total;
    return { weights, total, value };
  };
  const fixed = weighted(0);
  const q = effects.reduce((sum, { value }, i) => sum + fixed.weights[i]! * (value - fixed.value) ** 2, 0);
  const scale = fixed.total - fixed.weights.reduce((sum, w) => sum + w * w, 0) / fixed.total;
  const between = Math.max(0, (q - (count - 1)) / scale);
  const { value, total } = weighted(between);
  const standardError = 1 / Math.sqrt(total);
  return {
    value,
    standardError,
    interval: [value - Z_95 * standardError, value + Z_95 * standardError],
    between,
    q,
    iSquared: q === 0 ? 0 : Math.max(0, (q - (count - 1)) / q),
  };
}
