const logFactorials = [0];

/** ln n! for a whole n ≥ 0. */
function logFactorial(n: number): number {
  for (let i = logFactorials.length; i <= n; i++) logFactorials.push(logFactorials[i - 1]! + Math.log(i));
  return logFactorials[n]!;
}

/** ln C(n, k); −∞ where the coefficient is 0. */
export function logBinomial(n: number, k: number): number {
  if (k < 0 || k > n) return Number.NEGATIVE_INFINITY;
  return logFactorial(n) - logFactorial(k) - logFactorial(n - k);
}

/** C(n − missing, k) / C(n, k): the chance that k of n, drawn without replacement, avoid `missing` given ones. */
export function chanceOfAvoiding(missing: number, n: number, k: number): number {
  if (n - missing < k) return 0;
  let chance = 1;
  for (let i = n - missing + 1; i <= n; i++) chance *= 1 - k / i;
  return chance;
}

/** P(x of the k drawn, without replacement, from n are among `marked` given ones). */
export function hypergeometric(x: number, n: number, marked: number, k: number): number {
  return Math.exp(logBinomial(marked, x) + logBinomial(n - marked, k - x) - logBinomial(n, k));
}
