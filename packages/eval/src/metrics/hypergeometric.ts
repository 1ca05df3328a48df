import { logBinomial } from '../statistics/combinatorics.js';

/** P(X ≥ least) where X of k samples, drawn without replacement from n of which c are right, are right. */
export function hypergeometricTail(n: number, c: number, k: number, least: number): number {
  if (least <= Math.max(0, k - (n - c))) return 1;
  let sum = 0;
  for (let right = least; right <= Math.min(k, c); right++) {
    sum += Math.exp(logBinomial(c, right) + logBinomial(n - c, k - right) - logBinomial(n, k));
  }
  return Math.min(1, sum);
}
