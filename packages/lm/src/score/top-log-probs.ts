import { barrier, concat, nameScope, softCap, type Tensor } from '@posttrain/core-tensor';
import type { LayerHooks, Weights } from '../model/layers.js';
import type { Network } from '../model/network.js';

/** Logits that exist at one time: 32 MiB. */
const CHUNK_LOGITS = 2 ** 23;
const SMALLEST_CHUNK = 2048;

export interface VocabularyOptions {
  readonly hooks?: LayerHooks;
  /** Default 1. */
  readonly temperature?: number;
  /** Vocabulary entries whose logits exist at one time. Default: as many as fit 32 MiB, but not fewer than 2,048. */
  readonly chunkSize?: number;
}

/**
 * Folds the logits of n final hidden states [n, width], divided by the temperature, a chunk of the vocabulary at a time:
 * `step` is given what is known so far, float32 [n, chunk], and the number of its first entry.
 */
function overVocabulary<T extends readonly Tensor[]>(
  network: Network,
  weights: Weights,
  hidden: Tensor,
  { hooks = {}, temperature = 1, chunkSize }: VocabularyOptions,
  step: (known: T | undefined, logits: Tensor, start: number) => T,
): T {
  const { states, matrix: head } = nameScope('lm_head', () => network.outputLayer(weights, hidden, hooks));
  const vocabulary = head.shape[0]!;
  const chunk = chunkSize ?? Math.max(SMALLEST_CHUNK, Math.floor(CHUNK_LOGITS / states.shape[0]!));
  const cap = network.logitSoftCap;
  let known: T | undefined;
  for (let start = 0; start < vocabulary; start += chunk) {
    const end = Math.min(vocabulary, start + chunk);
    const part = (known ? barrier(head, [...known]) : head).slice(0, start, end);
    const product = nameScope('lm_head', () => states.matmul(part, { transposeB: true }));
    const logits = (cap === undefined ? product : softCap(product, cap)).mul(1 / temperature).cast('float32');
    known = step(known, logits, start);
  }
  return known!;
}

/**
 * The k most likely tokens after each of n final hidden states [n, width], most likely first: int32 and float32 [n, k]. `logSumExps`
 * [n] is that of the logits divided by the temperature. The logits exist for a chunk of the vocabulary at a time.
 */
export function topLogProbs(
  network: Network,
  weights: Weights,
  { states, logSumExps }: { readonly states: Tensor; readonly logSumExps: Tensor },
  k: number,
  options: VocabularyOptions,
): { readonly tokens: Tensor; readonly logProbs: Tensor } {
  const [values, tokens] = overVocabulary<readonly [Tensor, Tensor]>(
    network,
    weights,
    states,
    options,
    (best, logits, start) => {
      const top = logits.topK(Math.min(k, logits.shape[1]!));
      const values: Tensor = best ? concat([best[0], top.values], 1) : top.values;
      const indices: Tensor = best ? concat([best[1], top.indices.add(start)], 1) : top.indices.add(start);
      const merged = values.topK(Math.min(k, values.shape[1]!));
      return [merged.values, indices.takeAlongAxis(merged.indices, 1)];
    },
  );
  return { tokens, logProbs: values.sub(logSumExps.expandDims(1)) };
}

/** Logits that differ by less are the same up to rounding, since a token's own comes from another kernel. */
const SAME = 1e-4;

/**
 * The ranks of given tokens after each of n final hidden states [n, width], float32 [n]: 1 + how many tokens are more likely
 * than it. Tokens that are as likely, up to rounding, share a rank.
 *
 * @param own their logits divided by the temperature, [n]
 */
export function tokenRanks(
  network: Network,
  weights: Weights,
  states: Tensor,
  own: Tensor,
  options: VocabularyOptions,
): Tensor {
  const least = own.add(SAME).expandDims(1);
  const [above] = overVocabulary<readonly [Tensor]>(network, weights, states, options, (known, logits) => {
    const count = logits.greater(least).cast('float32').sum(1);
    return [known ? known[0].add(count) : count];
  });
  return above.add(1);
}

/**
 * σ of log p(z) at each of n final hidden states [n, width], z drawn from the model, float32 [n]: √(Σ p (log p + H)²). The mean is −H, the entropy that is given.
 *
 * @param logSumExps of the logits divided by the temperature, [n]
 */
export function logProbDeviations(
  network: Network,
  weights: Weights,
  states: Tensor,
  { logSumExps, entropies }: { readonly logSumExps: Tensor; readonly entropies: Tensor },
  options: VocabularyOptions,
): Tensor {
  const [sum] = overVocabulary<readonly [Tensor]>(network, weights, states, options, (known, logits) => {
    const logProbs = logits.sub(logSumExps.expandDims(1));
    const surplus = logProbs.add(entropies.expandDims(1));
    const part = logProbs.exp().mul(surplus.mul(surplus)).sum(1);
    return [known ? known[0].add(part) : part];
  });
  return sum.sqrt();
}
