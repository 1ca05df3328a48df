import { iota } from '../create.js';
import { ShapeError } from '../errors.js';
import type { TensorSpec } from '../graph/node.js';
import type { Tensor } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { checkFloats, checkIndices } from './check.js';
import type { Kernel } from './kernel.js';
import { softmax } from './softmax.js';

/** What a masked score becomes: far below any score, and finite, so that no row can turn into NaN. */
const MASKED = -1e30;

export interface AttentionConfig {
  /** Multiplies the scores; usually 1 / √d. */
  readonly scale: number;
}

function checkHeads(name: string, q: TensorSpec, k: TensorSpec, v: TensorSpec): void {
  checkFloats(name, q, k, v);
  const shapes = [q.shape, k.shape, v.shape];
  if (shapes.some((s) => s.length !== 4)) throw new ShapeError(name, shapes, 'q, k and v need four axes');
  const [b, heads, , d] = q.shape;
  const [kb, kvHeads, keys, kd] = k.shape;
  const fits =
    b === kb && d === kd && heads! % kvHeads! === 0 && v.shape.slice(0, 3).every((dim, i) => dim === k.shape[i]);
  if (!fits || v.shape[2] !== keys) {
    throw new ShapeError(
      name,
      shapes,
      'needs q [b, h, s, d], k [b, kv, t, d], v [b, kv, t, dv] with h a multiple of kv',
    );
  }
}

/**
 * Inputs q [b, h, s, d], k and v [b, kv, t, d], bias [b or 1, 1, s, t] added to the scores; output [b, h, s, d].
 * softmax(q kᵀ · scale + bias) v, with h / kv query heads sharing each key/value head (arXiv 2305.13245).
 */
export const attentionKernel: Kernel<AttentionConfig> = {
  name: 'attention',
  infer: ([q, k, v, bias]) => {
    checkHeads('attention', q!, k!, v!);
    checkFloats('attention', q!, bias!);
    const [b, , s] = q!.shape;
    const [biasBatch, one, rows, columns] = bias!.shape;
    if (!(biasBatch === 1 || biasBatch === b) || one !== 1 || rows !== s || columns !== k!.shape[2]) {
      throw new ShapeError('attention', [q!.shape, k!.shape, bias!.shape], 'the bias must be [b or 1, 1, s, t]');
    }
    return [{ shape: [...q!.shape.slice(0, 3), v!.shape[3]!], dtype: q!.dtype }];
  },
  decompose: ([q, k, v, bias], { scale }) => {
    const [b, heads, s, d] = q!.shape as [number, number, number, number];
    const kv = k!.shape[1]!;
    const t = k!.shape[2]!;
    const group = heads / kv;
    // One product per key/value head: the query heads that share it are stacked along the rows.
    const scores = q!
      .reshape([b, kv, group * s, d])
      .matmul(k!, { transposeB: true })
      .mul(scale);
    const biased = scores.reshape([b, kv, group, s, t]).add(bias!.expandDims(2));
    const out = softmax(biased)
      .reshape([b, kv, group * s, t])
      .matmul(v!);
    return [out.reshape([b, heads, s, v!.shape[3]!])];
  },
};

/** Attention with an additive bias: see `attentionKernel` and `attentionBias`. */
export const attention = (q: Tensor, k: Tensor, v: Tensor, bias: Tensor, config: AttentionConfig): Tensor =>
  applyKernel(attentionKernel, [q, k, v, bias], config)[0]!;

export interface AttentionBiasOptions {
  /** Each position sees at most this many positions, itself included. Default: all before it. */
  readonly slidingWindow?: number;
}

/**
 * The bias of causal self-attention over packed rows: int32 segments [b, s] → float32 [b, 1, s, s], 0 where position
 * i may see position j and very negative elsewhere: j ≤ i, the same segment, and within the sliding window.
 * Padding gets a segment of its own; it sees only padding and nothing sees it.
 */
export function attentionBias(segments: Tensor, { slidingWindow }: AttentionBiasOptions = {}): Tensor {
  const [b, s] = segments.shape as [number, number];
  const [row, column] = [iota([1, s, 1], 1), iota([1, 1, s], 2)];
  const causal = column.lessEqual(row);
  const near = slidingWindow === undefined ? causal : causal.and(row.sub(slidingWindow).less(column));
  const visible = segments
    .reshape([b, s, 1])
    .equal(segments.reshape([b, 1, s]))
    .and(near);
  return biasOf(visible).reshape([b, 1, s, s]);
}

const biasOf = (visible: Tensor): Tensor => visible.not().cast('float32').mul(MASKED);

export interface CachedAttentionConfig extends AttentionConfig {
  readonly slidingWindow?: number;
}

/**
 * Attention of new tokens over a cache of fixed capacity that they are appended to.
 *
 * Inputs: q [b, h, s, d]; k, v [b, kv, s, d] of the new tokens; pastKeys, pastValues [b, kv, capacity, d]; lengths
 * int32 [b], the number of tokens each row has in the cache already. Outputs: [b, h, s, d], and both caches with the
 * new tokens written at positions lengths[b] … lengths[b] + s - 1. New token i sees positions ≤ lengths[b] + i, so
 * rows of different length are padded on the right and their padding is overwritten later.
 */
export const cachedAttentionKernel: Kernel<CachedAttentionConfig> = {
  name: 'cachedAttention',
  infer: ([q, k, v, pastKeys, pastValues, lengths]) => {
    checkHeads('cachedAttention', q!, k!, v!);
    checkHeads('cachedAttention', q!, pastKeys!, pastValues!);
    checkIndices('cachedAttention', lengths!, 'lengths');
    const caches = [
      [k!.shape, pastKeys!.shape],
      [v!.shape, pastValues!.shape],
    ] as const;
    for (const [added, past] of caches) {
      if (added.some((dim, axis) => axis !== 2 && dim !== past[axis])) {
        throw new ShapeError('cachedAttention', [added, past], 'the new tokens must fit the cache on every axis but 2');
      }
    }
    if (k!.shape[2] !== q!.shape[2]) {
      throw new ShapeError('cachedAttention', [q!.shape, k!.shape], 'needs a key for every query');
    }
    if (lengths!.shape.length !== 1 || lengths!.shape[0] !== q!.shape[0]) {
      throw new ShapeError('cachedAttention', [q!.shape, lengths!.shape], 'lengths must have one entry per row');
    }
    return [{ shape: [...q!.shape.slice(0, 3), v!.shape[3]!], dtype: q!.dtype }, pastKeys!, pastValues!];
  },
  decompose: ([q, k, v, pastKeys, pastValues, lengths], { scale, slidingWindow }) => {
    const [b, , s] = q!.shape as [number, number, number];
    const capacity = pastKeys!.shape[2]!;
    const positions = lengths!.reshape([b, 1]).add(iota([1, s], 1));
    const at = positions.reshape([b, 1, s, 1]).broadcastTo(k!.shape);
    const keys = pastKeys!.putAlongAxis(at, k!, 2);
    const values = pastValues!.putAlongAxis(at, v!, 2);
    const row = positions.reshape([b, s, 1]);
    const column = iota([1, 1, capacity], 2);
    const causal = column.lessEqual(row);
    const visible = slidingWindow === undefined ? causal : causal.and(row.sub(slidingWindow).less(column));
    const bias = biasOf(visible).cast(q!.dtype).reshape([b, 1, s, capacity]);
    return [attention(q!, keys, values, bias, { scale }), keys, values];
  },
};

/** See `cachedAttentionKernel`. */
export function cachedAttention(
  inputs: { q: Tensor; k: Tensor; v: Tensor; pastKeys: Tensor; pastValues: Tensor; lengths: Tensor },
  config: CachedAttentionConfig,
): { output: Tensor; keys: Tensor; values: Tensor } {
  const { q, k, v, pastKeys, pastValues, lengths } = inputs;
  const [output, keys, values] = applyKernel(cachedAttentionKernel, [q, k, v, pastKeys, pastValues, lengths], config);
  return { output: output!, keys: keys!, values: values! };
}
