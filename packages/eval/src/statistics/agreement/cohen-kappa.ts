import { type Given, listOf, oneOf, options, text } from '@posttrain/interfaces';
import { EvaluationError } from '../../errors.js';
import { Z_95 } from '../standard-error.js';

const cohenKappaOptions = options('cohenKappa', {
  /**
   * How much of an agreement two different labels are: none (`nominal`), or 1 − |i − j| / (K − 1) by their places in `labels`
   * (`linear`), or the same with squares (`quadratic`). Default `nominal`.
   */
  weights: oneOf(['nominal', 'linear', 'quadratic'], { default: 'nominal' }),
  /** All labels in their order. Default: those that were given, numbers by value and texts by letter. */
  labels: listOf(text({}), { optional: true }),
});
/** Options of `cohenKappa`. */
export type CohenKappaOptions = Given<typeof cohenKappaOptions>;

/** Agreement beyond chance, and how well it is known. */
export interface Agreement {
  /** 1: all agree; 0: as much as by chance; `null` where chance alone agrees always (both gave one label only). */
  readonly value: number | null;
  /** Of large samples; `null` without a value. */
  readonly standardError: number | null;
  /** value ± 1.96 standard errors; `null` without one, and with one of 0. */
  readonly interval: readonly [low: number, high: number] | null;
  /** Share of agreement, weighted where it is. */
  readonly observed: number;
  /** The same of raters who label by chance with the same frequencies. */
  readonly expected: number;
  readonly items: number;
}

/**
 * Cohen's κ of two raters of the same items (Cohen 1960; weighted 1968): κ = (p_o − p_e) / (1 − p_e), p_o = Σ w_ij p_ij, p_e = Σ w_ij p_i. p_.j.
 * The standard error is that of Fleiss, Cohen and Everitt (1969):
 *
 *   Var = (Σ p_ij (w_ij (1 − p_e) − (w̄_i. + w̄_.j)(1 − p_o))² − (p_o p_e − 2 p_e + p_o)²) / (n (1 − p_e)⁴)
 *
 * @param first the first rater's label of each item; compared as texts
 * @throws OptionError; EvaluationError `UNPAIRED` for lists of other lengths, or none; `UNKNOWN_LABEL`
 */
export function cohenKappa(
  first: readonly (string | number)[],
  second: readonly (string | number)[],
  given: CohenKappaOptions = {},
): Agreement {
  const { weights, labels = sortedLabels([...first, ...second]) } = cohenKappaOptions.read(given);
  const items = first.length;
  if (items !== second.length || items === 0)
    throw new EvaluationError(
      'UNPAIRED',
      `cohenKappa: ${items} and ${second.length} labels; give one of each per item.`,
    );
  const place = new Map(labels.map((label, i) => [label, i]));
  const placeOf = (label: string | number): number => {
    const found = place.get(String(label));
    if (found !== undefined) return found;
    throw new EvaluationError('UNKNOWN_LABEL', `cohenKappa: "${label}" is not among the labels ${labels.join(', ')}.`);
  };
  const count = labels.length;
  const counts = Array.from({ length: count }, () => new Array<number>(count).fill(0));
  first.forEach((label, i) => {
    counts[placeOf(label)]![placeOf(second[i]!)]! += 1;
  });
  const table = counts.map((row) => row.map((times) => times / items));
  const weightOf = (i: number, j: number): number => {
    if (weights === 'nominal' || count < 2) return Number(i === j);
    const distance = Math.abs(i - j) / (count - 1);
    return 1 - (weights === 'linear' ? distance : distance * distance);
  };
  const rows = table.map((row) => row.reduce((sum, p) => sum + p, 0));
  const columns = labels.map((_, j) => table.reduce((sum, row) => sum + row[j]!, 0));
  const over = (value: (i: number, j: number) => number): number =>
    rows.reduce((sum, _, i) => sum + columns.reduce((part, __, j) => part + value(i, j), 0), 0);
  const observed = over((i, j) => weightOf(i, j) * table[i]![j]!);
  const expected = over((i, j) => weightOf(i, j) * rows[i]! * columns[j]!);
  const room = 1 - expected;
  if (room <= 1e-12) return { value: null, standardError: null, interval: null, observed, expected, items };
  const rowWeight = rows.map((_, i) => columns.reduce((sum, p, j) => sum + p * weightOf(i, j), 0));
  const columnWeight = columns.map((_, j) => rows.reduce((sum, p, i) => sum + p * weightOf(i, j), 0));
  const squares = over(
    (i, j) => table[i]![j]! * (weightOf(i, j) * room - (rowWeight[i]! + columnWeight[j]!) * (1 - observed)) ** 2,
  );
  const centre = observed * expected - 2 * expected + observed;
  const value = (observed - expected) / room;
  const standardError = Math.sqrt(Math.max(0, squares - centre * centre) / items) / (room * room);
  return { value, standardError, interval: intervalOf(value, standardError), observed, expected, items };
}

/** value ± 1.96 standard errors; `null` where the error is 0 but for rounding. */
export function intervalOf(value: number, standardError: number): readonly [number, number] | null {
  if (!(standardError > 1e-7)) return null;
  return [value - Z_95 * standardError, value + Z_95 * standardError];
}

/** Distinct labels as texts: numbers by value, then texts by letter. */
export function sortedLabels(values: readonly (string | number)[]): string[] {
  const distinct = [...new Set(values)].sort((a, b) => {
    if (typeof a === 'number' && typeof b === 'number') return a - b;
    if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1;
    return a < b ? -1 : a > b ? 1 : 0;
  });
  return [...new Set(distinct.map(String))];
}
