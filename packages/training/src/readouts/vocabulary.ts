import { barrier, checkpoint, logSumExp, softCap, stack, type Tensor } from '@posttrain/core-tensor';
import type { OutputLayer } from '@posttrain/lm';

/** Logits that exist at one time: 32 MiB. */
const CHUNK_LOGITS = 2 ** 23;
const SMALLEST_CHUNK = 2048;

/** An output layer over n predictions, as the softmax takes it. */
export interface VocabularyLogits extends Pick<OutputLayer, 'states' | 'matrix'> {
  readonly softCap: number | undefined;
  readonly temperature: number;
}

/** Logits [n, entries] of the vocabulary entries [start, end), divided by the temperature, in float32. */
function logitsOf({ states, matrix, softCap: cap, temperature }: VocabularyLogits, start: number, end: number): Tensor {
  const logits = states.matmul(matrix.slice(0, start, end), { transposeB: true }).cast('float32');
  return (cap === undefined ? logits : softCap(logits, cap)).mul(1 / temperature);
}

/** Of the logits [n, entries] of the entries [start, end) of the vocabulary, one for each layer. */
type OfChunk = (logits: readonly Tensor[], start: number, end: number) => Tensor;

/**
 * What `combine` makes of what `reduce` makes of the logits of each chunk of the vocabulary, from the first chunk to
 * the last. Logits are computed again for the gradient: those of one chunk exist at a time, forward and backward.
 *
 * @param layers of one vocabulary
 */
export function reduceOverVocabulary(
  layers: readonly VocabularyLogits[],
  reduce: OfChunk,
  combine: (soFar: Tensor, next: Tensor) => Tensor,
  chunkSize?: number,
): Tensor {
  const [rows, vocabulary] = [layers[0]!.states.shape[0]!, layers[0]!.matrix.shape[0]!];
  const chunk = chunkSize ?? Math.max(SMALLEST_CHUNK, Math.floor(CHUNK_LOGITS / Math.max(1, rows * layers.length)));
  let total: Tensor | undefined;
  for (let start = 0; start < vocabulary; start += chunk) {
    const end = Math.min(vocabulary, start + chunk);
    const before = total ? [total] : [];
    const part = checkpoint(() => {
      // A chunk waits until the one before it is added, and its logits can go.
      const ordered = layers.map((layer) => ({ ...layer, matrix: barrier(layer.matrix, before) }));
      return reduce(
        ordered.map((layer) => logitsOf(layer, start, end)),
        start,
        end,
      );
    })();
    total = total ? combine(total, part) : part;
  }
  return total!;
}

/** Σ over chunks of the vocabulary; otherwise as `reduceOverVocabulary`. */
export const sumOverVocabulary = (layers: readonly VocabularyLogits[], reduce: OfChunk, chunkSize?: number): Tensor =>
  reduceOverVocabulary(layers, reduce, (soFar, next) => soFar.add(next), chunkSize);

/** log(e^a + e^b); a form whose gradient is right where the two are equal, as those of a head of zeros are. */
export const logAddExp = (a: Tensor, b: Tensor): Tensor => logSumExp(stack([a, b], -1)).squeeze(-1);
