import type { TokenLogProb } from '@posttrain/interfaces';
import type { Logits } from './processors/editable-scores.js';
import type { ModelWeights } from './sampler.js';
import type { SamplerSettings } from './sampler-settings.js';
import { type TokenStatistic, type TokenView, tokenStatistics } from './token-statistics.js';

/**
 * A token and what was asked about its distribution: softmax(logits / temperature), before penalties, constraints and
 * truncation; temperature 0 counts as 1.
 */
export interface SampledToken {
  readonly token: number;
  /** log p of the token. */
  readonly logProb?: number;
  /** The most likely tokens, falling; of equals the first. */
  readonly topLogProbs?: readonly TokenLogProb[];
  /** −Σ p log p, in nats. */
  readonly entropy?: number;
  /** By name, those that were asked for. */
  readonly statistics?: TokenStatistics;
  /**
   * log of the probability that it was drawn with: under what all settings, and other models, made of the distribution. 0 where
   * nothing else could come (greedy, or put there by a hook).
   */
  readonly samplingLogProb?: number;
  /** The tokens that could have been drawn, in the order of their ids; null: any. */
  readonly keptTokens?: readonly number[] | null;
}

/** Statistics of a token, by name. */
export type TokenStatistics = Readonly<Partial<Record<TokenStatistic, number>>>;

export function reportToken(
  token: number,
  logits: Logits,
  { temperature, logProbs = true, topLogProbs = 0, entropies = false, statistics = [] }: SamplerSettings,
  { weights, total, mostLikely, logTotal }: ModelWeights,
): SampledToken {
  const rate = temperature === 0 ? 1 : 1 / temperature;
  const largest = logits[mostLikely]!;
  const logProbOf = (id: number) => (logits[id]! - largest) * rate - logTotal;
  const view: TokenView = { token, logits, rate, weights, total, mostLikely, logProbOf };
  return {
    token,
    ...(logProbs ? { logProb: logProbOf(token) } : {}),
    ...(topLogProbs > 0
      ? { topLogProbs: mostLikelyTokens(logits, topLogProbs).map((id) => ({ tokenId: id, logProb: logProbOf(id) })) }
      : {}),
    ...(entropies ? { entropy: tokenStatistics.entropy(view) } : {}),
    ...(statistics.length > 0
      ? { statistics: Object.fromEntries(statistics.map((name) => [name, tokenStatistics[name](view)])) }
      : {}),
  };
}

/** The n largest, falling, in one pass. */
export function mostLikelyTokens(logits: Logits, n: number): number[] {
  const best: number[] = [];
  let least = Number.NEGATIVE_INFINITY;
  for (let token = 0; token < logits.length; token++) {
    const score = logits[token]!;
    if (best.length === n && score <= least) continue;
    let at = best.length;
    while (at > 0 && logits[best[at - 1]!]! < score) at--;
    best.splice(at, 0, token);
    if (best.length > n) best.pop();
    if (best.length === n) least = logits[best[n - 1]!]!;
  }
  return best;
}
