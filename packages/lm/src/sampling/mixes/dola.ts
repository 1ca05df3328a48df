import { custom, type Given, number, options, PosttrainError } from '@posttrain/interfaces';
import type { ModelConfig } from '../../config/index.js';
import type { DecodingMix } from '../decoding-mix.js';
import { logSoftmax } from '../log-softmax.js';
import { contrast } from './contrastive.js';

const isLayers = (value: unknown): boolean =>
  value === 'low' ||
  value === 'high' ||
  (Array.isArray(value) && value.length > 0 && value.every((layer) => Number.isInteger(layer) && layer >= 0));

const dolaOptions = options('dola', {
  /**
   * The layers that the premature one is chosen from (transformers: `dola_layers`): every second one of the upper half, `high`,
   * for answers that are short; of the lower half, `low`, for long reasoning; or a list of layers, 0 being the embeddings.
   */
  dolaLayers: custom<'low' | 'high' | readonly number[]>()('"low", "high" or a list of layers', isLayers, {}),
  /** α: a token must have this fraction of the most likely token's probability (transformers: `relative_top`). Default 0.1. */
  relativeTop: number({ default: 0.1, min: 0, max: 1 }),
});
/** Options of `dola`. */
export type DolaOptions = Given<typeof dolaOptions>;

/**
 * DoLa, decoding by contrasting layers (arXiv 2309.03883): what the model says minus what one of its layers said already,
 *
 *   log p_N(y) − log p_M(y)    over y with p_N(y) ≥ α max_w p_N(w)
 *   M = argmax_j [KL(m_j ‖ p_N) + KL(m_j ‖ p_j)],   m_j = (p_N + p_j) / 2
 *
 * p_j being softmax of the output layer on the state after layer j, not normalised for it, as in the reference implementation and
 * transformers. Both choose M by these divergences of the mean, where the paper has the Jensen–Shannon divergence. Of equal ones
 * the first layer; M is chosen for each row (transformers: for the batch); logits that
 * the model caps are capped for both. A repetition penalty of 1.2 goes with it.
 *
 * @throws OptionError; PosttrainError DECODING_MIX for a list with layers that the model has not below its last
 */
export function dola(given: DolaOptions): DecodingMix {
  const { dolaLayers, relativeTop: alpha } = dolaOptions.read(given);
  return {
    name: 'dola',
    settings: dolaOptions.settings(given),
    models: [],
    innerLayers: (config) => candidateLayers(config, dolaLayers),
    combine(policy, _others, inner) {
      const mature = logSoftmax(policy);
      const layers = inner.map((logits) => logSoftmax(logits));
      return contrast(mature, prematureOf(mature, layers), { alpha });
    },
  };
}

/**
 * transformers' candidates for a model of N layers: from 0, or above what a tied embedding makes of itself, to N/2, and from N/2 to
 * N; at most 20 layers from either end.
 */
function candidateLayers(
  { numHiddenLayers: layers, tieWordEmbeddings }: ModelConfig,
  asked: 'low' | 'high' | readonly number[],
): readonly number[] {
  const half = Math.floor(layers / 2);
  const every2nd = (from: number, to: number) =>
    Array.from({ length: Math.max(0, Math.ceil((to - from) / 2)) }, (_, i) => from + 2 * i);
  if (asked === 'high') return every2nd(layers <= 40 ? half : layers - 20, layers);
  if (asked === 'low') {
    const first = tieWordEmbeddings ? Math.min(2, layers - 1) : 0;
    const found = first === half ? [first] : every2nd(first, layers <= 40 ? half : 20);
    if (found.length > 0) return found;
    throw tooShallow(`a model of ${layers} layers has none that is low; give them in a list`);
  }
  const beyond = asked.find((layer) => layer >= layers);
  if (beyond === undefined) return asked;
  throw tooShallow(
    `dolaLayers has ${beyond}, and the last of the model's ${layers} layers is what it is contrasted with`,
  );
}

const tooShallow = (problem: string) => new PosttrainError('DECODING_MIX', `dola: ${problem}`);

/** The layer that differs most from the last. */
function prematureOf(mature: Float64Array, layers: readonly Float64Array[]): Float64Array {
  const divergences = layers.map((layer) => divergence(mature, layer));
  return layers[divergences.indexOf(Math.max(...divergences))]!;
}

/** KL(m ‖ p) + KL(m ‖ q), m = (p + q) / 2, of log-probabilities. */
function divergence(p: Float64Array, q: Float64Array): number {
  let sum = 0;
  for (let token = 0; token < p.length; token++) {
    const mean = (Math.exp(p[token]!) + Math.exp(q[token]!)) / 2;
    // Where both are 0, or the mean is, there is nothing to add.
    if (mean > 0) sum += mean * (2 * Math.log(mean) - p[token]! - q[token]!);
  }
  return sum;
}
