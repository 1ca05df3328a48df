import { PosttrainError } from '@posttrain/interfaces';

/** How one row draws its tokens; the resolved form of `SamplingParams`. */
export interface SamplerSettings {
  /** 0: greedy. */
  readonly temperature: number;
  readonly topK: number | undefined;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
}

export interface SampledToken {
  readonly token: number;
  /** log softmax(logits / temperature) of the token, before truncation and penalty; temperature 0 counts as 1. */
  readonly logProb: number;
}

/** Throws for a setting outside its range, naming it. */
export function checkSamplerSettings(settings: SamplerSettings): void {
  const fail = (what: string) => {
    throw new PosttrainError('SAMPLING', `generate: ${what}`);
  };
  const { temperature, topK, topP, minP, repetitionPenalty } = settings;
  if (!(temperature >= 0) || !Number.isFinite(temperature)) fail(`temperature must be 0 or more, not ${temperature}`);
  if (topK !== undefined && (!Number.isInteger(topK) || topK < 1)) fail(`topK must be a positive integer, not ${topK}`);
  if (!(topP > 0 && topP <= 1)) fail(`topP must lie in (0, 1], not ${topP}`);
  if (!(minP >= 0 && minP <= 1)) fail(`minP must lie in [0, 1], not ${minP}`);
  if (!(repetitionPenalty > 0)) fail(`repetitionPenalty must be positive, not ${repetitionPenalty}`);
}

/**
 * Draws one token. The steps and their order are those of Hugging Face `generate`: repetition penalty
 * (arXiv 1909.05858), temperature, top-k, top-p (arXiv 1904.09751), min-p (arXiv 2407.01082), renormalise, draw by
 * inverting the cumulative distribution in token order at `uniform` ∈ [0, 1).
 *
 * @param logits one row, of the model; not changed
 * @param seen tokens of the prompt and the completion so far, for the repetition penalty
 */
export function sampleToken(
  logits: Float32Array,
  settings: SamplerSettings,
  seen: Iterable<number>,
  uniform: number,
): SampledToken {
  const scores = settings.repetitionPenalty === 1 ? logits : penalize(logits, seen, settings.repetitionPenalty);
  const temperature = settings.temperature === 0 ? 1 : settings.temperature;
  const token = settings.temperature === 0 ? argMax(scores) : draw(scores, settings, uniform);
  return { token, logProb: logits[token]! / temperature - logSumExp(logits, temperature) };
}

function draw(scores: Float32Array, settings: SamplerSettings, uniform: number): number {
  const largest = scores[argMax(scores)]!;
  const weights = new Float64Array(scores.length);
  let total = 0;
  for (let i = 0; i < scores.length; i++) {
    weights[i] = Math.exp((scores[i]! - largest) / settings.temperature);
    total += weights[i]!;
  }
  total = truncate(weights, total, settings);
  const target = uniform * total;
  let cumulative = 0;
  let last = 0;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] === 0) continue;
    cumulative += weights[i]!;
    last = i;
    if (target < cumulative) return i;
  }
  return last;
}

/** Zeroes the weights that top-k, top-p and min-p drop; gives the total of the rest. */
function truncate(weights: Float64Array, total: number, { topK, topP, minP }: SamplerSettings): number {
  const k = topK !== undefined && topK < weights.length ? topK : undefined;
  if (k === undefined && topP >= 1 && minP === 0) return total;
  const order = Array.from(weights, (_, i) => i).sort((a, b) => weights[b]! - weights[a]! || a - b);
  let kept = k ?? order.length;
  let sum = 0;
  for (let i = 0; i < kept; i++) sum += weights[order[i]!]!;
  if (topP < 1) {
    let reached = 0;
    let i = 0;
    while (i < kept && (i === 0 || reached < topP * sum)) reached += weights[order[i++]!]!;
    kept = i;
  }
  // The most likely token has weight 1, so its fraction is the threshold.
  while (kept > 1 && weights[order[kept - 1]!]! < minP) kept--;
  for (let i = kept; i < order.length; i++) weights[order[i]!] = 0;
  sum = 0;
  for (let i = 0; i < kept; i++) sum += weights[order[i]!]!;
  return sum;
}

function penalize(logits: Float32Array, seen: Iterable<number>, penalty: number): Float32Array {
  const scores = logits.slice();
  for (const token of new Set(seen))
    scores[token] = scores[token]! < 0 ? scores[token]! * penalty : scores[token]! / penalty;
  return scores;
}

function argMax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

function logSumExp(logits: Float32Array, temperature: number): number {
  const largest = logits[argMax(logits)]! / temperature;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! / temperature - largest);
  return largest + Math.log(sum);
}
