/** By instance, the candidates whose score is the highest there: s*_i = max_k S_ki, P*_i = {k : S_ki = s*_i}. */
function fronts(scores: readonly (readonly number[])[]): ReadonlySet<number>[] {
  return scores[0]!.map((_, i) => {
    const best = Math.max(...scores.map((row) => row[i]!));
    return new Set(scores.flatMap((row, k) => (row[i] === best ? [k] : [])));
  });
}

/**
 * Pareto-based candidate selection of GEPA (arXiv 2507.19457, algorithm 2): in how many instances each candidate is among the best, once the
 * dominated ones are taken out. A candidate is drawn in proportion to it.
 *
 * Dominated is a candidate beside whom another, not dominated one stands in every front that it is in; the candidates of lower total score
 * are looked at first, of equals who is first met in the fronts (as by the authors' package). So every instance keeps one of its best, and no candidate is kept
 * that the others make superfluous.
 *
 * @param scores S[k][i], candidate k on instance i; as many instances for all
 * @returns f[k], 0 for who is dominated or nowhere among the best
 */
export function paretoFrequencies(scores: readonly (readonly number[])[]): number[] {
  if (scores.length === 0) return [];
  const all = fronts(scores);
  const totals = scores.map((row) => row.reduce((sum, it) => sum + it, 0));
  // In the order of the fronts, which decides between equal totals.
  const kept = new Set(all.flatMap((front) => [...front]));
  const isDominated = (k: number): boolean =>
    all.every((front) => !front.has(k) || [...front].some((other) => other !== k && kept.has(other)));
  // Taking one out only makes others harder to dominate: one pass finds all.
  for (const k of [...kept].sort((a, b) => totals[a]! - totals[b]!)) if (isDominated(k)) kept.delete(k);
  return scores.map((_, k) => (kept.has(k) ? all.filter((front) => front.has(k)).length : 0));
}
