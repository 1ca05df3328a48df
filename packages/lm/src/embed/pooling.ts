import { iota, type Tensor, where } from '@posttrain/core-tensor';

export const POOLINGS = ['cls', 'mean', 'max', 'last'] as const;

/**
 * How the hidden states of a text's tokens become one vector:
 *
 * - `cls`: that of the first token (BERT's `[CLS]`);
 * - `mean`: their mean (arXiv 1908.10084);
 * - `max`: the largest of each component;
 * - `last`: that of the last token, the only one of a causal model that has seen the whole text.
 */
export type Pooling = (typeof POOLINGS)[number];

/**
 * Hidden states [b, s, width] of texts padded on the right, and int32 [b] the index of each text's last token →
 * [b, width]. Padding does not count.
 */
export function pool(hidden: Tensor, last: Tensor, pooling: Pooling): Tensor {
  const [b, s, width] = hidden.shape as [number, number, number];
  if (pooling === 'cls') return hidden.slice(1, 0, 1).reshape([b, width]);
  if (pooling === 'last') {
    const at = last.reshape([b, 1, 1]).broadcastTo([b, 1, width]);
    return hidden.takeAlongAxis(at, 1).reshape([b, width]);
  }
  const isText = textMask(b, s, last).expandDims(2);
  if (pooling === 'max') return where(isText, hidden, -Infinity).max(1);
  const count = last.add(1).cast(hidden.dtype).reshape([b, 1]);
  return where(isText, hidden, 0).sum(1).div(count);
}

/** bool [b, s]: whether a token is at or before int32 [b] the last of its row. */
export const textMask = (b: number, s: number, last: Tensor): Tensor => iota([b, s], 1).lessEqual(last.reshape([b, 1]));

/** x / max(‖x‖, 1e-12), as torch's `normalize` has it. */
export function normalized(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return vector.map((value) => value / Math.max(length, 1e-12));
}
