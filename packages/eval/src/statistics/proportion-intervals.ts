import { wilsonBounds } from '@posttrain/interfaces/estimators';
import { EvaluationError } from '../errors.js';
import { betaQuantile, normalQuantile } from './distributions.js';

/**
 * Wilson's score interval of a proportion: (p + z²/2n ± z√(p(1−p)/n + z²/4n²)) / (1 + z²/n) (Wilson 1927). Unlike ± 1.96
 * standard errors it does not shrink to a point at 0 or n successes. It covers about as often as it says.
 *
 * @param level of confidence. Default 0.95
 * @throws EvaluationError `BAD_COUNT` unless 0 ≤ successes ≤ count are whole numbers and count > 0; `BAD_LEVEL`
 */
export function wilsonInterval(successes: number, count: number, level = 0.95): readonly [low: number, high: number] {
  assertProportion('wilsonInterval', successes, count, level);
  return wilsonBounds(successes, count, normalQuantile((1 + level) / 2));
}

/**
 * Clopper and Pearson's exact interval of a proportion (Biometrika 1934), the quantiles of Beta(x, n−x+1) and Beta(x+1, n−x): it covers at least
 * as often as it says, at any n, and is wider than Wilson's for it. For bounds that must hold, such as "fails in at most 1 % of runs".
 *
 * @param level of confidence. Default 0.95
 * @throws EvaluationError as `wilsonInterval`
 */
export function clopperPearsonInterval(
  successes: number,
  count: number,
  level = 0.95,
): readonly [low: number, high: number] {
  assertProportion('clopperPearsonInterval', successes, count, level);
  const tail = (1 - level) / 2;
  return [
    successes === 0 ? 0 : betaQuantile(tail, successes, count - successes + 1),
    successes === count ? 1 : betaQuantile(1 - tail, successes + 1, count - successes),
  ];
}

function assertProportion(where: string, successes: number, count: number, level: number): void {
  if (!(Number.isInteger(count) && count > 0 && Number.isInteger(successes) && successes >= 0 && successes <= count)) {
    throw new EvaluationError('BAD_COUNT', `${where}: there are no ${successes} successes in ${count} trials.`);
  }
  if (!(level > 0 && level < 1)) {
    throw new EvaluationError('BAD_LEVEL', `${where}: level is ${level}; it must lie between 0 and 1.`);
  }
}
