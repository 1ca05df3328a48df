import { barrier } from '../autodiff/barrier.js';
import { iota } from '../create.js';
import { KernelOptionError, ShapeError } from '../errors.js';
import type { TensorSpec } from '../graph/node.js';
import { concat, type Tensor, where } from '../tensor.js';
import { softCap as capped } from './activations.js';
import { applyKernel } from './apply-kernel.js';
import { alibiSlopes, biasOf } from './attention-mask.js';
import { checkFloats, checkIndices } from './check.js';
import type { Kernel } from './kernel.js';
import { attentionInBlocks, type Columns, columnBlocks, type KeyBlock } from './running-softmax.js';
import { softmax } from './softmax.js';

/** What an attention kernel is compiled for. */
export interface AttentionConfig {
  /** Multiplies the scores; usually 1 / √d. */
  readonly scale: number;
  /** Scores become softCap · tanh(score / softCap) before anything is added to them (Gemma 2, arXiv 2408.00118). */
  readonly softCap?: number;
}

/** Options of `attention`. */
export interface AttentionOptions extends AttentionConfig {
  /**
   * A logit [h] per head that every row's softmax has besides its keys and that no value belongs to: what a row would
   * otherwise have to give to some key (gpt-oss, arXiv 2508.10925; after arXiv 2309.17453).
   */
  readonly sinks?: Tensor;
}

export function checkHeads(name: string, q: TensorSpec, k: TensorSpec, v: TensorSpec): void {
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

/** One sink logit per query head. */
export function checkSinks(name: string, q: TensorSpec, sinks: TensorSpec | undefined): void {
  if (!sinks) return;
  checkFloats(name, q, sinks);
  if (sinks.shape.length !== 1 || sinks.shape[0] !== q.shape[1]) {
    throw new ShapeError(name, [q.shape, sinks.shape], 'the sinks must be one logit per head of q');
  }
}

/** Numbers that make sense, in any of the attentions. */
export function checkNumbers(
  name: string,
  { scale, softCap = 1, slidingWindow = 1 }: AttentionConfig & { readonly slidingWindow?: number },
): void {
  const fail = (why: string): never => {
    throw new KernelOptionError(name, why);
  };
  if (!Number.isFinite(scale)) fail(`scale must be a number, not ${scale}`);
  if (!(softCap > 0)) fail(`softCap must be positive, not ${softCap}`);
  if (!(slidingWindow >= 1)) fail(`slidingWindow must be at least 1, the position itself, not ${slidingWindow}`);
}

/**
 * Inputs q [b, h, s, d], k and v [b, kv, t, d], bias [b or 1, h or 1, s, t] added to the scores, and maybe sinks [h];
 * output [b, h, s, d]. softmax(cap(q kᵀ · scale) + bias) v, with h / kv query heads sharing each key/value head
 * (arXiv 2305.13245). The gradient keeps the probabilities; where they take much memory, see `flashAttention`.
 */
export const attentionKernel: Kernel<AttentionConfig> = {
  name: 'attention',
  infer: ([q, k, v, bias, sinks], config) => {
    checkHeads('attention', q!, k!, v!);
    checkFloats('attention', q!, bias!);
    checkSinks('attention', q!, sinks);
    checkNumbers('attention', config);
    const [b, h, s] = q!.shape;
    const [batch, heads, rows, columns] = bias!.shape;
    const fits = (batch === 1 || batch === b) && (heads === 1 || heads === h) && rows === s && columns === k!.shape[2];
    if (!fits) {
      throw new ShapeError('attention', [q!.shape, k!.shape, bias!.shape], 'the bias must be [b or 1, h or 1, s, t]');
    }
    return [{ shape: [...q!.shape.slice(0, 3), v!.shape[3]!], dtype: q!.dtype }];
  },
  decompose: ([q, k, v, bias, sinks], { scale, softCap }) => {
    const [b, heads, s, d] = q!.shape as [number, number, number, number];
    const kv = k!.shape[1]!;
    const t = k!.shape[2]!;
    const group = heads / kv;
    // One product per key/value head: the query heads that share it are stacked along the rows.
    const scores = q!
      .reshape([b, kv, group * s, d])
      .matmul(k!, { transposeB: true })
      .mul(scale);
    const [biasBatch, biasHeads] = bias!.shape as [number, number];
    const perHead = biasHeads === 1 ? [1, 1] : [kv, group];
    const biased = (softCap === undefined ? scores : capped(scores, softCap))
      .reshape([b, kv, group, s, t])
      .add(bias!.reshape([biasBatch, ...perHead, s, t]));
    const column = sinks?.reshape([1, kv, group, 1, 1]).broadcastTo([b, kv, group, s, 1]);
    const probabilities = column ? softmax(concat([biased, column], 4)).slice(4, 0, t) : softmax(biased);
    const out = probabilities.reshape([b, kv, group * s, t]).matmul(v!);
    return [out.reshape([b, heads, s, v!.shape[3]!])];
  },
};

/** Attention with an additive bias: see `attentionKernel`, and `selfAttention` for masks that are not written out. */
export const attention = (q: Tensor, k: Tensor, v: Tensor, bias: Tensor, options: AttentionOptions): Tensor => {
  const { sinks, ...config } = options;
  return applyKernel(attentionKernel, [q, k, v, bias, ...(sinks ? [sinks] : [])], config)[0]!;
};

/** What attention over a cache is compiled for. */
export interface CachedAttentionConfig extends AttentionConfig {
  /** Each token sees at most this many tokens, itself included. Default: all before it. */
  readonly slidingWindow?: number;
  /** Adds slope · (j - i) to the scores: see `alibiSlopes`. Default false. */
  readonly alibi?: boolean;
}

/**
 * Attention of new tokens over a cache of fixed capacity that they are appended to.
 *
 * Inputs: q [b, h, s, d]; k, v [b, kv, s, d] of the new tokens; pastKeys, pastValues [b, kv, capacity, d]; lengths
 * int32 [b], the number of tokens each row has in the cache already; maybe sinks [h]. Outputs: [b, h, s, d], and both caches with the
 * new tokens written at positions lengths[b] … lengths[b] + s - 1. New token i sees positions ≤ lengths[b] + i, so
 * rows of different length are padded on the right and their padding is overwritten later. What the caches hold behind
 * those positions has no effect, be it NaN.
 */
export const cachedAttentionKernel: Kernel<CachedAttentionConfig> = {
  name: 'cachedAttention',
  infer: ([q, k, v, pastKeys, pastValues, lengths, sinks], config) => {
    checkNumbers('cachedAttention', config);
    checkSinks('cachedAttention', q!, sinks);
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
  decompose: ([q, k, v, pastKeys, pastValues, lengths, sinks], config) => {
    const [b, , s] = q!.shape as [number, number, number];
    const capacity = pastKeys!.shape[2]!;
    const positions = lengths!.reshape([b, 1]).add(iota([1, s], 1));
    const at = positions.reshape([b, 1, s, 1]).broadcastTo(k!.shape);
    const keys = pastKeys!.putAlongAxis(at, k!, 2);
    const values = pastValues!.putAlongAxis(at, v!, 2);
    const row = positions.reshape([b, s, 1]);
    const blockAt = ([start, end]: Columns, after: readonly Tensor[]): KeyBlock => {
      const distance = row.sub(iota([1, 1, end - start], 2).add(start));
      const own = (cache: Tensor) => onlyFirst(barrier(cache, after).slice(2, start, end), lengths!.add(s - start));
      const bias = biasBehind({ distance, seen: distance.greaterEqual(0) }, q!, config);
      return { keys: own(keys), values: own(values), bias };
    };
    const output = attentionBehind(q!, columnBlocks([...q!.shape.slice(0, 3), capacity]), blockAt, config, sinks);
    return [output, keys, values];
  },
};

/** How far columns are before each new token, [b, s, columns], and which it sees but for a window. */
export interface Distances {
  readonly distance: Tensor;
  readonly seen: Tensor;
}

/** What is added to the scores of q's rows at these distances: [b, 1 or h, s, columns]. */
export function biasBehind(
  { distance, seen }: Distances,
  { shape: [, heads], dtype }: Tensor,
  { slidingWindow, alibi }: CachedAttentionConfig,
): Tensor {
  const [b, s, width] = distance.shape as [number, number, number];
  const visible = slidingWindow === undefined ? seen : seen.and(distance.less(slidingWindow));
  const mask = biasOf(visible, dtype).reshape([b, 1, s, width]);
  if (!alibi) return mask;
  const slopes = alibiSlopes(heads!).cast(dtype).reshape([1, heads!, 1, 1]);
  return mask.sub(distance.cast(dtype).reshape([b, 1, s, width]).mul(slopes));
}

/** Attention over a cache, of which `blockAt` gives some columns: at once, or where there are several, block by block. */
export function attentionBehind(
  q: Tensor,
  columns: readonly Columns[],
  blockAt: (columns: Columns, after: readonly Tensor[]) => KeyBlock,
  { scale, softCap }: AttentionConfig,
  sinks: Tensor | undefined,
): Tensor {
  const how = { scale, ...(softCap !== undefined && { softCap }), ...(sinks && { sinks }) };
  if (columns.length > 1) return attentionInBlocks(q, columns, blockAt, how);
  const { keys, values, bias } = blockAt(columns[0]!, []);
  return attention(q, keys, values, bias, how);
}

/**
 * A cache [b, kv, capacity, d] with zeros behind the first `counts` int32 [b] tokens of each row. A mask is not enough where
 * memory is used again: 0 · NaN is NaN.
 */
export function onlyFirst(cache: Tensor, counts: Tensor): Tensor {
  const [b, , capacity] = cache.shape as [number, number, number, number];
  const isOwn = iota([1, 1, capacity, 1], 2).less(counts.reshape([b, 1, 1, 1]));
  return where(isOwn, cache, 0);
}

/** See `cachedAttentionKernel`. */
export function cachedAttention(
  inputs: { q: Tensor; k: Tensor; v: Tensor; pastKeys: Tensor; pastValues: Tensor; lengths: Tensor; sinks?: Tensor },
  config: CachedAttentionConfig,
): { output: Tensor; keys: Tensor; values: Tensor } {
  const { q, k, v, pastKeys, pastValues, lengths, sinks } = inputs;
  const all = [q, k, v, pastKeys, pastValues, lengths, ...(sinks ? [sinks] : [])];
  const [output, keys, values] = applyKernel(cachedAttentionKernel, all, config);
  return { output: output!, keys: keys!, values: values! };
}
