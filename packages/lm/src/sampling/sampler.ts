import { maskWithEnds } from '../constraint/token-constraint.js';
import { NonFiniteLogitsError } from '../runner/non-finite.js';
import type { RowSoftmax } from '../runner/step-memory.js';
import { expOfNegative } from './fast-exp.js';
import { applyBadWords } from './processors/bad-words.js';
import { EditableScores, type Logits } from './processors/editable-scores.js';
import { applyLogitBias } from './processors/logit-bias.js';
import { applyMinTokens } from './processors/min-tokens.js';
import { applyNoRepeatNgram } from './processors/no-repeat-ngram.js';
import { applyPresenceFrequencyPenalty } from './processors/presence-frequency-penalty.js';
import { applyRepetitionPenalty } from './processors/repetition-penalty.js';
import { reportToken, type SampledToken } from './report-token.js';
import type { SamplerSettings } from './sampler-settings.js';
import type { SamplerContext } from './token-history.js';
import { Candidates, NoTokenAllowedError, sumOf } from './warpers/candidates.js';
import { keepEpsilon } from './warpers/epsilon-cutoff.js';
import { keepEta } from './warpers/eta-cutoff.js';
import { keepMinP } from './warpers/min-p.js';
import { keepTopK } from './warpers/top-k.js';
import { keepTopP } from './warpers/top-p.js';
import { keepTypical } from './warpers/typical.js';

export type { Logits } from './processors/editable-scores.js';
export type { SampledToken } from './report-token.js';
export { checkSamplerSettings, type SamplerSettings } from './sampler-settings.js';

/** softmax(logits / temperature) of one row. Temperature 0 counts as 1. */
export interface ModelWeights {
  /** exp(logit / temperature) up to a factor. */
  readonly weights: Float32Array;
  /** The sum of the weights. */
  readonly total: number;
  /** The first of the largest logits. */
  readonly mostLikely: number;
  /** log Σ exp((logit − largest logit) / temperature). */
  readonly logTotal: number;
}

export { process as applyProcessors };

const NO_ENDS: ReadonlySet<number> = new Set();
const candidates = new Candidates();
let modelScratch = new Float32Array(0);
let editedScratch = new Float32Array(0);

/**
 * Draws one token. The rules and their order are those of Hugging Face `generate`: logit bias, repetition penalty, presence
 * and frequency penalty (which it lacks), no-repeat-n-gram, bad words, minimal length, constraint; temperature, top-k,
 * top-p, min-p, typical, epsilon, eta; each in its own file. Then the rest is renormalised and the cumulative distribution,
 * in token order, inverted at `uniform`. Greedy takes the first of the most likely tokens that the former leave.
 *
 * @param logits one row, of the model; changed meanwhile, and the same again afterwards
 * @param uniform in [0, 1); not used at temperature 0
 * @param given softmax(logits / temperature), where the engine has computed it
 * @throws NoTokenAllowedError
 */
export function sampleToken(
  logits: Logits,
  settings: SamplerSettings,
  context: SamplerContext,
  uniform: number,
  given?: RowSoftmax,
): SampledToken {
  const { temperature } = settings;
  const isReported = asksForReport(settings);
  const model = given ? givenWeights(logits, given) : isReported ? modelWeights(logits, temperature) : undefined;
  const scores = new EditableScores(logits);
  let drawn: Drawn;
  try {
    process(scores, settings, context);
    if (temperature === 0) {
      const isTheModels = model && !scores.isEdited && !context.constraint;
      const token = isTheModels ? model.mostLikely : mostLikely(scores.values, settings, context);
      drawn = { token, probability: 1, kept: settings.keptTokens ? [token] : null };
    } else if (isWhole(settings, context)) {
      drawn = drawFrom(weightsOf(scores, model, temperature), undefined, scores.size, uniform);
    } else {
      warp(scores, model, settings, context);
      drawn = drawFrom(candidates.weights, candidates.tokens, candidates.size, uniform);
      if (settings.keptTokens) drawn = { ...drawn, kept: keptOf(candidates) };
    }
  } finally {
    scores.restore();
  }
  return {
    ...(isReported ? reportToken(drawn.token, logits, settings, model!) : { token: drawn.token }),
    ...drawnWith(drawn, settings),
  };
}

/** What `sampleToken` reports of a token, for one that was chosen in another way: with this probability, among these. */
export function reportChosen(
  token: number,
  logits: Logits,
  settings: SamplerSettings,
  given: RowSoftmax | undefined,
  how: Omit<Drawn, 'token'>,
): SampledToken {
  const drawn = drawnWith(how, settings);
  if (!asksForReport(settings)) return { token, ...drawn };
  const model = given ? givenWeights(logits, given) : modelWeights(logits, settings.temperature);
  return { ...reportToken(token, logits, settings, model), ...drawn };
}

const drawnWith = (
  { probability, kept = null }: Pick<Drawn, 'probability' | 'kept'>,
  { samplingLogProbs, keptTokens }: SamplerSettings,
): Pick<SampledToken, 'samplingLogProb' | 'keptTokens'> => ({
  ...(samplingLogProbs && { samplingLogProb: Math.log(probability) }),
  ...(keptTokens && { keptTokens: kept }),
});

/** Those that have a probability. */
const keptOf = ({ tokens, weights, size }: Candidates): number[] =>
  Array.from(tokens.subarray(0, size)).filter((_, i) => weights[i]! > 0);

/** Whether `sampleToken` has a use for a softmax that the engine computes: it has none for edited scores only. */
export const usesSoftmax = (settings: SamplerSettings): boolean => asksForReport(settings) || !editsScores(settings);

/** Whether anything is reported of the model's own distribution. */
export const asksForReport = (settings: SamplerSettings): boolean => {
  const { logProbs = true, topLogProbs = 0, entropies = false, statistics = [] } = settings;
  return logProbs || topLogProbs > 0 || entropies || statistics.length > 0;
};

/**
 * What `sampleToken` draws from: the tokens that may be drawn, in the order of their ids, and their probabilities. Greedy is
 * one token with probability 1.
 *
 * @param logits as in `sampleToken`
 */
export function tokenDistribution(
  logits: Logits,
  settings: SamplerSettings,
  context: SamplerContext,
): { readonly tokens: Int32Array; readonly probabilities: Float64Array } {
  const scores = new EditableScores(logits);
  try {
    process(scores, settings, context);
    if (settings.temperature === 0) {
      const token = mostLikely(scores.values, settings, context);
      return { tokens: Int32Array.of(token), probabilities: Float64Array.of(1) };
    }
    warp(scores, undefined, settings, context);
  } finally {
    scores.restore();
  }
  const { size, total } = candidates;
  return {
    tokens: candidates.tokens.slice(0, size),
    probabilities: Float64Array.from(candidates.weights.subarray(0, size), (weight) => weight / total),
  };
}

/** Whether `process` may change a logit. */
const editsScores = (settings: SamplerSettings): boolean =>
  settings.logitBias !== undefined ||
  settings.repetitionPenalty !== 1 ||
  (settings.presencePenalty ?? 0) !== 0 ||
  (settings.frequencyPenalty ?? 0) !== 0 ||
  (settings.noRepeatNgramSize ?? 0) > 0 ||
  settings.badWordsIds !== undefined ||
  (settings.minNewTokens ?? 0) > 0;

/** What changes single logits, in the order of transformers' processors. */
function process(scores: EditableScores, settings: SamplerSettings, context: SamplerContext): void {
  const { logitBias, repetitionPenalty, noRepeatNgramSize = 0, badWordsIds, minNewTokens = 0 } = settings;
  const { presencePenalty: presence = 0, frequencyPenalty: frequency = 0, endTokens = NO_ENDS } = settings;
  if (logitBias) applyLogitBias(scores, logitBias);
  if (repetitionPenalty !== 1) applyRepetitionPenalty(scores, repetitionPenalty, context.seen);
  if (presence !== 0 || frequency !== 0) {
    applyPresenceFrequencyPenalty(scores, { presence, frequency }, context.counts);
  }
  if (noRepeatNgramSize > 0) applyNoRepeatNgram(scores, noRepeatNgramSize, context);
  if (badWordsIds) applyBadWords(scores, badWordsIds, context, endTokens);
  applyMinTokens(scores, minNewTokens, context.generated.length, endTokens);
}

/** Whether no token is removed after the processors. */
function isWhole(settings: SamplerSettings, { constraint }: SamplerContext): boolean {
  const { topK, topP, minP, typicalP = 1, epsilonCutoff = 0, etaCutoff = 0 } = settings;
  return !constraint && topK === undefined && topP === 1 && minP + epsilonCutoff + etaCutoff === 0 && typicalP === 1;
}

/** Leaves in `candidates` what may be drawn. */
function warp(
  scores: EditableScores,
  model: ModelWeights | undefined,
  settings: SamplerSettings,
  { constraint }: SamplerContext,
): void {
  const { temperature, topK, topP, minP, typicalP = 1, epsilonCutoff = 0, etaCutoff = 0 } = settings;
  if (constraint) {
    const mask = maskWithEnds(constraint, settings.endTokens ?? NO_ENDS, scores.size);
    candidates.fillMasked(scores.values, mask, temperature);
  } else candidates.fill(weightsOf(scores, model, temperature));
  if (topK !== undefined) keepTopK(candidates, topK);
  if (topP < 1) keepTopP(candidates, topP);
  if (minP > 0) keepMinP(candidates, minP);
  if (typicalP < 1) keepTypical(candidates, typicalP);
  if (epsilonCutoff > 0) keepEpsilon(candidates, epsilonCutoff);
  if (etaCutoff > 0) keepEta(candidates, etaCutoff);
}

function weightsOf(scores: EditableScores, model: ModelWeights | undefined, temperature: number): Float32Array {
  if (model && !scores.isEdited) return model.weights;
  if (editedScratch.length !== scores.size) editedScratch = new Float32Array(scores.size);
  return relativeWeights(scores.values, temperature, editedScratch).weights;
}

function givenWeights(logits: Logits, { probabilities, mostLikely }: RowSoftmax): ModelWeights {
  const largest = probabilities[mostLikely]!;
  if (logits[mostLikely] === Number.NEGATIVE_INFINITY) throw new NoTokenAllowedError();
  if (!(largest > 0)) throw new NonFiniteLogitsError();
  return { weights: probabilities, total: 1, mostLikely, logTotal: -Math.log(largest) };
}

function modelWeights(logits: Logits, temperature: number): ModelWeights {
  if (modelScratch.length !== logits.length) modelScratch = new Float32Array(logits.length);
  return relativeWeights(logits, temperature === 0 ? 1 : temperature, modelScratch);
}

function relativeWeights(scores: Logits, temperature: number, weights: Float32Array): ModelWeights {
  const mostLikely = indexOfLargest(scores);
  const largest = scores[mostLikely]!;
  if (largest === Number.NEGATIVE_INFINITY) throw new NoTokenAllowedError();
  const rate = 1 / temperature;
  let total = 0;
  for (let i = 0; i < weights.length; i++) {
    const weight = expOfNegative((scores[i]! - largest) * rate);
    weights[i] = weight;
    total += weight;
  }
  if (!Number.isFinite(total)) throw new NonFiniteLogitsError();
  return { weights, total, mostLikely, logTotal: Math.log(total) };
}

/** @throws NonFiniteLogitsError for NaN anywhere, which no comparison would find */
function indexOfLargest(scores: Logits): number {
  let best = 0;
  let largest = scores[0]!;
  for (let i = 0; i < scores.length; i++) {
    if (scores[i]! <= largest) continue;
    if (Number.isNaN(scores[i]!)) throw new NonFiniteLogitsError();
    largest = scores[i]!;
    best = i;
  }
  return best;
}

/** The most likely token of those that a constraint allows. */
function mostLikely(scores: Logits, { endTokens = NO_ENDS }: SamplerSettings, { constraint }: SamplerContext): number {
  if (constraint) {
    candidates.fillMasked(scores, maskWithEnds(constraint, endTokens, scores.length), 1);
    let best = -1;
    for (let i = 0; i < candidates.size; i++) {
      const token = candidates.tokens[i]!;
      if (scores[token]! > (scores[best] ?? Number.NEGATIVE_INFINITY)) best = token;
    }
    if (best < 0) throw new NoTokenAllowedError();
    return best;
  }
  const best = indexOfLargest(scores);
  if (scores[best] === Number.NEGATIVE_INFINITY) throw new NoTokenAllowedError();
  if (!Number.isFinite(scores[best])) throw new NonFiniteLogitsError();
  return best;
}

/** A token, and what its probability was. */
export interface Drawn {
  readonly token: number;
  readonly probability: number;
  /** What could have been drawn; null or left out: any token. */
  readonly kept?: readonly number[] | null;
}

/** The token at `uniform` of the cumulative weights; `tokens` absent: every index is its own token. */
function drawFrom(weights: Float32Array, tokens: Int32Array | undefined, size: number, uniform: number): Drawn {
  const total = sumOf(weights, size);
  if (total === 0) throw new NoTokenAllowedError();
  if (!Number.isFinite(total)) throw new NonFiniteLogitsError();
  const target = uniform * total;
  let cumulative = 0;
  let at = -1;
  for (let i = 0; i < size; i++) {
    if (weights[i] === 0) continue;
    at = i;
    cumulative += weights[i]!;
    if (target < cumulative) break;
  }
  // Rounding may leave the sum a little below the target: then it is the last that can be drawn.
  return { token: tokens ? tokens[at]! : at, probability: weights[at]! / total };
}
