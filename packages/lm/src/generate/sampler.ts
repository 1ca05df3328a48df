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

/** The logits of one row. */
export type Logits = Float32Array | Float64Array;

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
  if (!(repetitionPenalty > 0) || !Number.isFinite(repetitionPenalty)) {
    fail(`repetitionPenalty must be positive, not ${repetitionPenalty}`);
  }
}

/**
 * Draws one token. The steps and their order are those of Hugging Face `generate`: repetition penalty
 * (arXiv 1909.05858), temperature, top-k, top-p (arXiv 1904.09751), min-p (arXiv 2407.01082), renormalise, draw by
 * inverting the cumulative distribution in token order at `uniform` ∈ [0, 1). Among equally likely tokens top-k keeps
 * all, greedy takes the first, and top-p keeps the first (where torch leaves it to its sorting).
 *
 * @param logits one row, of the model; not changed
 * @param seen tokens of the prompt and the completion so far, for the repetition penalty
 */
export function sampleToken(
  logits: Logits,
  settings: SamplerSettings,
  seen: ReadonlySet<number>,
  uniform: number,
): SampledToken {
  const temperature = settings.temperature === 0 ? 1 : settings.temperature;
  const model = relativeWeights(logits, temperature);
  const penalized =
    settings.repetitionPenalty === 1
      ? model
      : relativeWeights(penalize(logits, seen, settings.repetitionPenalty), temperature);
  const token = settings.temperature === 0 ? penalized.best : draw(penalized, settings, uniform);
  return { token, logProb: (logits[token]! - logits[model.best]!) / temperature - Math.log(model.total) };
}

interface RelativeWeights {
  /** The most likely token, the first among equals. */
  readonly best: number;
  /** Probability of each token divided by that of the most likely. */
  readonly weights: Float64Array;
  readonly total: number;
}

function relativeWeights(scores: Logits, temperature: number): RelativeWeights {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i;
  const largest = scores[best]!;
  const weights = new Float64Array(scores.length);
  let total = 0;
  for (let i = 0; i < scores.length; i++) {
    const weight = Math.exp((scores[i]! - largest) / temperature);
    weights[i] = weight;
    total += weight;
  }
  return { best, weights, total };
}

function draw({ weights, total }: RelativeWeights, settings: SamplerSettings, uniform: number): number {
  const { topK, topP, minP } = settings;
  const whole = (topK === undefined || topK >= weights.length) && topP === 1 && minP === 0;
  const { least, equals, mass } = whole ? { least: 0, equals: 0, mass: total } : cutOff(weights, total, settings);
  const target = uniform * mass;
  let equalsLeft = equals;
  let cumulative = 0;
  let last = 0;
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i]!;
    if (weight < least || (weight === least && equalsLeft-- <= 0)) continue;
    cumulative += weight;
    last = i;
    if (target < cumulative) return i;
  }
  // Rounding may leave the sum a little below the target.
  return last;
}

/** What top-k, top-p and min-p leave: the tokens above a weight, and the first few of those that have it. */
interface CutOff {
  readonly least: number;
  /** How many tokens of weight `least` are kept, in token order. */
  readonly equals: number;
  readonly mass: number;
}

function cutOff(weights: Float64Array, total: number, { topK, topP, minP }: SamplerSettings): CutOff {
  const k = topK !== undefined && topK < weights.length ? topK : undefined;
  const sorted = likelyWeights(weights, (count, mass, threshold) =>
    k === undefined ? threshold <= minP || (topP < 1 && mass >= topP * total) : count >= k,
  );
  let kept = k ?? sorted.length;
  if (k !== undefined) while (kept < sorted.length && sorted[kept] === sorted[k - 1]) kept++;
  const sumOf = (count: number) => sorted.subarray(0, count).reduce((a, b) => a + b, 0);
  if (topP < 1) {
    const enough = topP * (k === undefined ? total : sumOf(kept));
    let count = 1;
    for (let mass = sorted[0]!; count < kept && mass < enough; count++) mass += sorted[count]!;
    kept = count;
  }
  // The most likely token has weight 1, so its fraction is the threshold.
  while (kept > 1 && sorted[kept - 1]! < minP) kept--;
  const least = sorted[kept - 1]!;
  return { least, equals: kept - sorted.indexOf(least), mass: sumOf(kept) };
}

/**
 * The largest weights, falling, down to a threshold that falls until `enough`. Few tokens are likely, so that sorting
 * these is much cheaper than sorting the vocabulary.
 */
function likelyWeights(
  weights: Float64Array,
  enough: (count: number, mass: number, threshold: number) => boolean,
): Float64Array {
  for (let threshold = 0.1; ; threshold = threshold > 1e-9 ? threshold / 10 : 0) {
    let count = 0;
    let mass = 0;
    for (let i = 0; i < weights.length; i++) {
      if (weights[i]! < threshold) continue;
      count++;
      mass += weights[i]!;
    }
    if (threshold === 0 || enough(count, mass, threshold)) {
      return weights
        .filter((weight) => weight >= threshold)
        .sort()
        .reverse();
    }
  }
}

function penalize(logits: Logits, seen: ReadonlySet<number>, penalty: number): Logits {
  const scores = logits.slice();
  for (const token of seen) scores[token] = scores[token]! < 0 ? scores[token]! * penalty : scores[token]! / penalty;
  return scores;
}
