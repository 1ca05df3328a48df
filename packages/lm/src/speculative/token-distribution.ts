/** A distribution over tokens, as `tokenDistribution` gives it: those it leaves out are impossible. */
export interface TokenDistribution {
  /** Rising. */
  readonly tokens: Int32Array;
  /** One per token; their sum is 1. */
  readonly probabilities: Float64Array;
}

/** The token whose share of [0, 1), in token order, holds `uniform`; shares are the probabilities. */
export function tokenAt({ tokens, probabilities }: TokenDistribution, uniform: number): number {
  let cumulative = 0;
  let last = 0;
  for (let i = 0; i < probabilities.length; i++) {
    if (probabilities[i] === 0) continue;
    cumulative += probabilities[i]!;
    last = i;
    if (uniform < cumulative) break;
  }
  // Rounding may leave the sum a little below 1.
  return tokens[last]!;
}

export function probabilityOf({ tokens, probabilities }: TokenDistribution, token: number): number {
  let [low, high] = [0, tokens.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tokens[middle]! < token) low = middle + 1;
    else high = middle;
  }
  return tokens[low] === token ? probabilities[low]! : 0;
}
