import { barrier, concat, nameScope, softCap, type Tensor } from '@posttrain/core-tensor';
import type { LayerHooks, Weights } from '../model/layers.js';
import type { Network } from '../model/network.js';

/** Logits that exist at one time: 32 MiB. */
const CHUNK_LOGITS = 2 ** 23;
const SMALLEST_CHUNK = 2048;

export interface TopLogProbsOptions {
  readonly hooks?: LayerHooks;
  /** Default 1. */
  readonly temperature?: number;
  /** Vocabulary entries whose logits exist at one time. Default: as many as fit 32 MiB, but not fewer than 2,048. */
  readonly chunkSize?: number;
}

/**
 * The k most likely tokens after each of n final hidden states [n, width], most likely first: int32 and float32 [n, k]. `logSumExps`
 * [n] is that of the logits divided by the temperature. The logits exist for a chunk of the vocabulary at a time.
 */
export function topLogProbs(
  network: Network,
  weights: Weights,
  { states: hidden, logSumExps }: { readonly states: Tensor; readonly logSumExps: Tensor },
  k: number,
  { hooks = {}, temperature = 1, chunkSize }: TopLogProbsOptions,
): { readonly tokens: Tensor; readonly logProbs: Tensor } {
  const { states, matrix: head } = nameScope('lm_head', () => network.outputLayer(weights, hidden, hooks));
  const vocabulary = head.shape[0]!;
  const chunk = chunkSize ?? Math.max(SMALLEST_CHUNK, Math.floor(CHUNK_LOGITS / states.shape[0]!));
  const cap = network.logitSoftCap;
  let best: { readonly values: Tensor; readonly indices: Tensor } | undefined;
  for (let start = 0; start < vocabulary; start += chunk) {
    const end = Math.min(vocabulary, start + chunk);
    const part = (best ? barrier(head, [best.values, best.indices]) : head).slice(0, start, end);
    const product = nameScope('lm_head', () => states.matmul(part, { transposeB: true }));
    const logits = (cap === undefined ? product : softCap(product, cap)).mul(1 / temperature).cast('float32');
    const top = logits.topK(Math.min(k, end - start));
    const values: Tensor = best ? concat([best.values, top.values], 1) : top.values;
    const indices: Tensor = best ? concat([best.indices, top.indices.add(start)], 1) : top.indices.add(start);
    const merged = values.topK(Math.min(k, values.shape[1]!));
    best = { values: merged.values, indices: indices.takeAlongAxis(merged.indices, 1) };
  }
  return { tokens: best!.indices, logProbs: best!.values.sub(logSumExps.expandDims(1)) };
}
