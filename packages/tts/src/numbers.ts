export const mean = (values: readonly number[]): number => values.reduce((sum, it) => sum + it, 0) / values.length;

/** e^{s_i / T} / Σ e^{s_k / T}; all on the first of the highest where T is 0. */
export function softmax(scores: readonly number[], temperature: number): number[] {
  const most = Math.max(...scores);
  if (temperature === 0) return scores.map((_, i) => (i === scores.indexOf(most) ? 1 : 0));
  const weights = scores.map((score) => Math.exp((score - most) / temperature));
  const total = weights.reduce((sum, it) => sum + it, 0);
  return weights.map((weight) => weight / total);
}

/** The index that a uniform number in [0, 1) falls on, where index i has probability `probabilities[i]`. */
export function indexAt(probabilities: readonly number[], uniform: number): number {
  let left = uniform;
  for (const [i, probability] of probabilities.entries()) {
    left -= probability;
    if (left < 0) return i;
  }
  return probabilities.findLastIndex((probability) => probability > 0);
}

/** The q-quantile (0 to 1) with linear interpolation between order statistics, as NumPy's default. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  const [below, above] = [sorted[low]!, sorted[Math.min(low + 1, sorted.length - 1)]!];
  return below + (above - below) * (at - low);
}

/** The first index of the highest value. */
export const argmax = (values: readonly number[]): number => values.indexOf(Math.max(...values));
