import type { TokenLogProb } from '@posttrain/interfaces';
import type { Logits } from './processors/editable-scores.js';
import type { ModelWeights } from './sampler.js';
import type { SamplerSettings } from './sampler-settings.js';

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
}

export function reportToken(
  token: number,
  logits: Logits,
  { temperature, logProbs = true, topLogProbs = 0, entropies = false }: SamplerSettings,
  { weights, total, mostLikely, logTotal }: ModelWeights,
): SampledToken {
  const rate = temperature === 0 ? 1 : 1 / temperature;
  const largest = logits[mostLikely]!;
  const logProbOf = (id: number) => (logits[id]! - largest) * rate - logTotal;
  return {
    token,
    ...(logProbs ? { logProb: logProbOf(token) } : {}),
    ...(topLogProbs > 0
      ? { topLogProbs: mostLikelyTokens(logits, topLogProbs).map((id) => ({ tokenId: id, logProb: logProbOf(id) })) }
      : {}),
    ...(entropies ? { entropy: logTotal - (weightedGap(logits, weights, largest) * rate) / total } : {}),
  };
}

/** Σ w (x − largest): H = log Z − Σ w (x − largest) / T / Σ w with Z = Σ exp((x − largest) / T). */
function weightedGap(logits: Logits, weights: Float32Array, largest: number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) if (weights[i]! > 0) sum += weights[i]! * (logits[i]! - largest);
  return sum;
}

/** The n largest, falling, in one pass. */
function mostLikelyTokens(logits: Logits, n: number): number[] {
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
