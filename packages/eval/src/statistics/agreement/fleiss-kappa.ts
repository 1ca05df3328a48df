import { EvaluationError } from '../../errors.js';
import { type Agreement, intervalOf } from './cohen-kappa.js';

/**
 * Fleiss' κ of any number of raters, not the same for every item (Fleiss 1971): with n ratings of each of N items, n_ij of them for category j,
 *
 *   κ = (P̄ − P̄_e) / (1 − P̄_e),   P̄ = mean_i Σ_j n_ij (n_ij − 1) / (n (n − 1)),   P̄_e = Σ_j p_j²
 *
 * The standard error is for κ = 0 (Fleiss, Nee and Landis 1979), so that the interval is a test of chance and no more:
 * √(2 / (N n (n − 1))) · √((Σ p_j q_j)² − Σ p_j q_j (q_j − p_j)) / Σ p_j q_j, q = 1 − p.
 *
 * @param ratings the labels of each item, in any order: a list an item, all of one length of at least 2; labels are compared as texts
 * @throws EvaluationError `BAD_COUNT` for no items, for items with other numbers of ratings, or with one
 */
export function fleissKappa(ratings: readonly (readonly (string | number)[])[]): Agreement {
  const items = ratings.length;
  const raters = ratings[0]?.length ?? 0;
  const other = ratings.findIndex(({ length }) => length !== raters);
  if (items === 0 || raters < 2 || other >= 0) {
    const found =
      other >= 0
        ? `item ${other} has ${ratings[other]!.length} ratings and item 0 ${raters}`
        : `${items} items have ${raters} ratings each`;
    throw new EvaluationError(
      'BAD_COUNT',
      `fleissKappa: ${found}; every item needs the same number of ratings, 2 or more. krippendorffAlpha takes items with missing ones.`,
    );
  }
  const totals = new Map<string, number>();
  let agreeing = 0;
  for (const labels of ratings) {
    const counts = new Map<string, number>();
    for (const label of labels.map(String)) counts.set(label, (counts.get(label) ?? 0) + 1);
    for (const [label, count] of counts) {
      totals.set(label, (totals.get(label) ?? 0) + count);
      agreeing += count * (count - 1);
    }
  }
  const observed = agreeing / (items * raters * (raters - 1));
  const shares = [...totals.values()].map((count) => count / (items * raters));
  const expected = shares.reduce((sum, p) => sum + p * p, 0);
  const room = 1 - expected;
  if (room <= 1e-12) return { value: null, standardError: null, interval: null, observed, expected, items };
  const value = (observed - expected) / room;
  const spread = shares.reduce((sum, p) => sum + p * (1 - p), 0);
  const skew = shares.reduce((sum, p) => sum + p * (1 - p) * (1 - 2 * p), 0);
  const standardError =
    (Math.sqrt(2 / (items * raters * (raters - 1))) * Math.sqrt(Math.max(0, spread * spread - skew))) / spread;
  return { value, standardError, interval: intervalOf(value, standardError), observed, expected, items };
}
