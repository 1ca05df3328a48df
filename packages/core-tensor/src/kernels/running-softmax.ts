import { barrier } from '../autodiff/barrier.js';
import { full, zeros } from '../create.js';
import type { Tensor } from '../tensor.js';
import { softCap as capped } from './activations.js';

/*
 * The running softmax of FlashAttention (arXiv 2205.14135): what rows have seen of their keys so far, block after block.
 */

type Four = [number, number, number, number];

/** x [b, h, s, d] as [b, kv, group, s, d], cut to some rows and stacked: [b, kv, group · rows, d]. */
export function stackedRows(x: Tensor, kv: number, rows: readonly [number, number]): Tensor {
  const [b, h, s, d] = x.shape as Four;
  return x
    .reshape([b, kv, h / kv, s, d])
    .slice(3, ...rows)
    .reshape([b, kv, (h / kv) * (rows[1] - rows[0]), d]);
}

/** Sinks [h] as the logits of stacked rows: [b, kv, group · rows, 1]. */
function stackedSinks(sinks: Tensor, [b, kv, stacked]: readonly number[]): Tensor {
  const group = sinks.size / kv!;
  return sinks
    .cast('float32')
    .reshape([1, kv!, group, 1, 1])
    .broadcastTo([b!, kv!, group, stacked! / group, 1])
    .reshape([b!, kv!, stacked!, 1]);
}

/** Of rows [b, kv, rows, …]: the largest score so far, Σ e^(score - largest), and the same sum of the values. */
export interface RunningState {
  readonly largest: Tensor;
  readonly sum: Tensor;
  readonly output: Tensor;
}

/** A sink is what the rows have seen before any key. */
export function initialState(sinks: Tensor | undefined, shape: readonly number[]): RunningState | undefined {
  if (!sinks) return undefined;
  const column = [...shape.slice(0, 3), 1];
  return { largest: stackedSinks(sinks, column), sum: full(column, 1), output: zeros(shape) };
}

/** The state after one more block: `scores` [b, kv, rows, columns] in float32, `values` [b, kv, columns, dv]. */
export function extended(state: RunningState | undefined, scores: Tensor, values: Tensor): RunningState {
  const highest = scores.max(-1, { keepDims: true });
  const largest = state ? state.largest.maximum(highest) : highest;
  const weights = scores.sub(largest).exp();
  const sum = weights.sum(-1, { keepDims: true });
  const output = weights.cast(values.dtype).matmul(values).cast('float32');
  if (!state) return { largest, sum, output };
  const shrink = state.largest.sub(largest).exp();
  return { largest, sum: state.sum.mul(shrink).add(sum), output: state.output.mul(shrink).add(output) };
}

/** Keys and values [b, kv, columns, d] of some columns, and what is added to their scores: [b, 1 or h, s, columns]. */
export interface KeyBlock {
  readonly keys: Tensor;
  readonly values: Tensor;
  readonly bias: Tensor;
}

/** Columns `[start, end)` of the scores. */
export type Columns = readonly [start: number, end: number];

/** Up to this much memory for scores in float32, all columns are computed at once. */
const SCORE_BYTES = 32 * 2 ** 20;
/** Every block is a part of the graph: no more than so many, and none smaller than that. */
const [MOST_BLOCKS, LEAST_COLUMNS] = [16, 512];

/**
 * How the columns of scores [b, h, s, `capacity`] are cut for `attentionInBlocks`: not at all up to 32 MiB; else into 16 blocks at most, of
 * 512 columns at least, each a multiple of `step`.
 */
export function columnBlocks([b, h, s, capacity]: readonly number[], step = 1): Columns[] {
  if (b! * h! * s! * capacity! * 4 <= SCORE_BYTES) return [[0, capacity!]];
  const size = Math.ceil(Math.max(LEAST_COLUMNS, capacity! / MOST_BLOCKS) / step) * step;
  return Array.from({ length: Math.ceil(capacity! / size) }, (_, i) => [i * size, Math.min(capacity!, (i + 1) * size)]);
}

/**
 * Attention of q [b, h, s, d] → [b, h, s, dv] over keys that are asked for block by block, of which one block and its scores exist at a time.
 *
 * @param blockAt the block of some columns, which must be computed after the tensors `after` are there
 */
export function attentionInBlocks(
  q: Tensor,
  columns: readonly Columns[],
  blockAt: (columns: Columns, after: readonly Tensor[]) => KeyBlock,
  { scale, softCap, sinks }: { readonly scale: number; readonly softCap?: number; readonly sinks?: Tensor },
): Tensor {
  const [b, h, s] = q.shape as Four;
  let state: RunningState | undefined;
  for (const part of columns) {
    const after = state && [state.largest, state.sum, state.output];
    const { keys, values, bias } = blockAt(part, after ?? []);
    const [, kv, width] = keys.shape as Four;
    const rows = stackedRows(after ? barrier(q, after) : q, kv, [0, s]);
    state ??= initialState(sinks, [...rows.shape.slice(0, 3), values.shape[3]!]);
    const raw = rows.matmul(keys, { transposeB: true }).cast('float32').mul(scale);
    const perHead = bias.shape[1] === 1 ? [1, 1] : [kv, h / kv];
    const scores = (softCap === undefined ? raw : capped(raw, softCap))
      .reshape([b, kv, h / kv, s, width])
      .add(bias.cast('float32').reshape([bias.shape[0]!, ...perHead, s, width]))
      .reshape(raw.shape);
    state = extended(state, scores, values);
  }
  const { sum, output } = state!;
  return output.div(sum).cast(q.dtype).reshape([b, h, s, output.shape[3]!]);
}
