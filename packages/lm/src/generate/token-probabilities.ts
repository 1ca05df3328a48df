import type { Logits, SamplerSettings } from './sampler.js';

/**
 * The distribution that `sampleToken` draws from: the probability [vocabulary] of every token after repetition penalty,
 * temperature, top-k, top-p and min-p, with its rules for ties. Greedy is a distribution too: all of it on the most
 * likely token, the first among equals.
 *
 * @param logits one row, of the model; not changed
 * @param seen tokens of the prompt and the completion so far, for the repetition penalty
 */
export function tokenProbabilities(logits: Logits, settings: SamplerSettings, seen: ReadonlySet<number>): Float64Array {
  const { temperature, topK, topP, minP, repetitionPenalty } = settings;
  const scores = Float64Array.from(logits);
  if (repetitionPenalty !== 1) {
    // In the precision of the logits, so that ties are ties for the sampler too.
    const round = logits instanceof Float32Array ? Math.fround : (x: number) => x;
    for (const token of seen) {
      const score = scores[token]!;
      scores[token] = round(score < 0 ? score * repetitionPenalty : score / repetitionPenalty);
    }
  }
  const best = scores.reduce((at, score, token) => (score > scores[at]! ? token : at), 0);
  if (temperature === 0) return new Float64Array(scores.length).fill(1, best, best + 1);

  const weights = scores.map((score) => Math.exp((score - scores[best]!) / temperature));
  const whole = (topK === undefined || topK >= weights.length) && topP === 1 && minP === 0;
  if (!whole) truncate(weights, topK ?? weights.length, topP, minP);
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
}

/** Sets the weights to 0 that top-k, top-p and min-p remove. The largest weight is 1. */
function truncate(weights: Float64Array, topK: number, topP: number, minP: number): void {
  const kth = weights.toSorted()[Math.max(0, weights.length - topK)]!;
  // Likely ones first, equals in token order.
  const order = [...weights.keys()]
    .filter((token) => weights[token]! >= kth)
    .sort((a, b) => weights[b]! - weights[a]! || a - b);
  const enough = topP * order.reduce((sum, token) => sum + weights[token]!, 0);
  const kept = new Set<number>();
  let mass = 0;
  for (const token of order) {
    if (kept.size > 0 && (weights[token]! < minP || (topP < 1 && mass >= enough))) break;
    kept.add(token);
    mass += weights[token]!;
  }
  for (const token of weights.keys()) if (!kept.has(token)) weights[token] = 0;
}

/** The token whose share of [0, 1), in token order, holds `uniform`; shares are the probabilities. */
export function tokenAt(probabilities: Float64Array, uniform: number): number {
  let cumulative = 0;
  let last = 0;
  for (let token = 0; token < probabilities.length; token++) {
    if (probabilities[token] === 0) continue;
    cumulative += probabilities[token]!;
    last = token;
    if (uniform < cumulative) return token;
  }
  // Rounding may leave the sum a little below 1.
  return last;
}

/** log softmax(logits / temperature) of a token; temperature 0 counts as 1. */
export function tokenLogProb(logits: Logits, token: number, temperature: number): number {
  const divisor = temperature === 0 ? 1 : temperature;
  let largest = Number.NEGATIVE_INFINITY;
  for (const score of logits) largest = Math.max(largest, score);
  let total = 0;
  for (const score of logits) total += Math.exp((score - largest) / divisor);
  return (logits[token]! - largest) / divisor - Math.log(total);
}
