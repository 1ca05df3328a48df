import { formatNumber } from '../format.js';
import { normalQuantile } from './distributions.js';
import type { PairedDifference } from './paired-bootstrap.js';

/** Two-sided rate of false alarms and power by which a comparison says what it could have seen. */
const REACH = normalQuantile(0.975) + normalQuantile(0.8);

/** What a comparison is of. */
export interface Compared extends PairedDifference {
  readonly metric: string;
  readonly first: string;
  readonly second: string;
  /** Confidence level of the interval. */
  readonly level: number;
}

/**
 * What a comparison of two runs can and cannot tell. That an interval holds 0 is no sign that runs are alike: the statement then says which differences
 * it leaves open, and which it would have seen four times in five.
 */
export function comparisonStatement(compared: Compared): string {
  const { metric, first, second, difference, standardError, interval, pValue, pairs, level } = compared;
  const show = (value: number): string => formatNumber(value);
  if (interval === null || standardError === null) {
    return `${metric}: ${second} minus ${first} is ${show(difference)} on ${pairs} problems, which cannot say how well that is known.`;
  }
  const [low, high] = interval;
  const head = `${metric}: ${second} minus ${first} is ${show(difference)} on ${pairs} problems (${100 * level} % interval ${show(low)} to ${show(high)}${pValue === null ? '' : `, p = ${show(pValue)}`}).`;
  const scope =
    'It is of problems like these, with these prompts and seeds, and this is one comparison: correct p for the others (holm).';
  if (low > 0 || high < 0) {
    const better = difference > 0 ? 'higher' : 'lower';
    return `${head} ${second} is ${better}, beyond the chance in which problems were picked. ${scope}`;
  }
  const reach = show(REACH * standardError);
  return `${head} No difference was found, which does not say that there is none: anything in the interval is left open, and a true difference of ${reach} would have been found 4 times in 5. ${scope}`;
}
