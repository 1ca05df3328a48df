import { EvaluationError } from '../errors.js';
import { logBinomial } from './combinatorics.js';

/** McNemar's exact test. */
export interface McNemarResult {
  /** Problems the first run solved and the second did not. */
  readonly onlyFirst: number;
  /** Problems the second run solved and the first did not. */
  readonly onlySecond: number;
  /** Exact two-sided p-value. */
  readonly pValue: number;
}

/**
 * McNemar's exact test (McNemar 1947) of two runs' right (1) and wrong (0) answers to the same problems:
 * p = min(1, 2·P(Bin(b+c, ½) ≤ min(b, c))), b and c the numbers of problems only one run solved; 1 when there are none.
 * @throws EvaluationError `UNPAIRED` when the lengths differ or there is no pair, `NOT_BINARY`.
 */
export function mcnemar(first: readonly number[], second: readonly number[]): McNemarResult {
  if (first.length !== second.length || first.length === 0) {
    throw new EvaluationError('UNPAIRED', `mcnemar needs pairs, but got ${first.length} and ${second.length} values.`);
  }
  if (![...first, ...second].every((x) => x === 0 || x === 1)) {
    throw new EvaluationError(
      'NOT_BINARY',
      'mcnemar compares right (1) and wrong (0); use pairedBootstrap for other values.',
    );
  }
  let onlyFirst = 0;
  let onlySecond = 0;
  first.forEach((x, i) => {
    if (x > second[i]!) onlyFirst++;
    if (x < second[i]!) onlySecond++;
  });
  const discordant = onlyFirst + onlySecond;
  let tail = 0;
  for (let i = 0; i <= Math.min(onlyFirst, onlySecond); i++) {
    tail += Math.exp(logBinomial(discordant, i) - discordant * Math.LN2);
  }
  return { onlyFirst, onlySecond, pValue: Math.min(1, 2 * tail) };
}
