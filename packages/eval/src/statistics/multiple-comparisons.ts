import { EvaluationError } from '../errors.js';

/**
 * Holm's p-values (Scand. J. Statist. 1979): in ascending order max_{j ≤ i} min(1, (m−j+1) p_(j)). What is at most α is significant, and the chance
 * of one false alarm or more among all comparisons is at most α, however they depend on each other. In the order given.
 *
 * @throws EvaluationError `BAD_PROBABILITY`
 */
export function holm(pValues: readonly number[]): number[] {
  const m = pValues.length;
  return adjusted('holm', pValues, (sorted) =>
    running(
      sorted.map((p, i) => (m - i) * p),
      Math.max,
    ),
  );
}

/**
 * Benjamini and Hochberg's p-values (JRSS B 1995): in ascending order min_{j ≥ i} min(1, m p_(j) / j). Of what is at most q, the expected share of
 * false alarms is at most q, for comparisons that are independent or positively dependent. In the order given.
 *
 * @throws EvaluationError `BAD_PROBABILITY`
 */
export function benjaminiHochberg(pValues: readonly number[]): number[] {
  const m = pValues.length;
  return adjusted('benjaminiHochberg', pValues, (sorted) =>
    running(sorted.map((p, i) => (m * p) / (i + 1)).reverse(), Math.min).reverse(),
  );
}

const running = (values: readonly number[], pick: (a: number, b: number) => number): number[] => {
  let last = values[0] ?? 0;
  return values.map((value) => {
    last = pick(last, value);
    return last;
  });
};

function adjusted(where: string, pValues: readonly number[], of: (sorted: readonly number[]) => number[]): number[] {
  const bad = pValues.findIndex((p) => !(p >= 0 && p <= 1));
  if (bad >= 0) {
    throw new EvaluationError(
      'BAD_PROBABILITY',
      `${where}: p-value ${bad} is ${pValues[bad]}; it must be from 0 to 1.`,
    );
  }
  const order = pValues.map((_, i) => i).sort((i, j) => pValues[i]! - pValues[j]!);
  const values = of(order.map((i) => pValues[i]!));
  const result = new Array<number>(pValues.length);
  order.forEach((i, rank) => {
    result[i] = Math.min(1, values[rank]!);
  });
  return result;
}
