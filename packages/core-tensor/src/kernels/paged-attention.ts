import { assertKnownOptions } from '@posttrain/interfaces';
import { barrier } from '../autodiff/barrier.js';
import { iota } from '../create.js';
import { KernelOptionError, ShapeError } from '../errors.js';
import { type Tensor, where } from '../tensor.js';
import {
  attentionBehind,
  biasBehind,
  type CachedAttentionConfig,
  cachedAttention,
  checkNumbers,
  type Distances,
  onlyFirst,
} from './attention.js';
import { checkIndices } from './check.js';
import { fromInt8Rows, toInt8Rows } from './int8-rows.js';
import { putRows } from './put-rows.js';
import { type Columns, columnBlocks, type KeyBlock } from './running-softmax.js';

/** Options of attention over a cache in blocks. */
export interface PagedAttentionOptions extends CachedAttentionConfig {
  /** Tokens in a block. */
  readonly blockSize: number;
}

/** The tensors of attention over a cache in blocks. */
export interface PagedAttentionInputs {
  /** [b, h, s, d]. */
  readonly q: Tensor;
  /** [b, kv, s, d], of the new tokens. */
  readonly k: Tensor;
  /** [b, kv, s, d], of the new tokens. */
  readonly v: Tensor;
  /** The pools that all rows share, [kv · blocks · blockSize, d]: one head after the other. */
  readonly keys: Tensor;
  readonly values: Tensor;
  /** Of pools in 8 bits, uint8 codes of `toInt8Rows`: their scales, float32 [kv · blocks · blockSize, 1]. Left out: the pools are floats. */
  readonly keyScales?: Tensor;
  readonly valueScales?: Tensor;
  /** int32 [b, w]: the blocks of each row in order; entries that are not used name block 0, which nobody owns. */
  readonly table: Tensor;
  /** int32 [b]: the tokens each row has in the cache already. */
  readonly lengths: Tensor;
  /** int32 [b, s]: where in the pools the new tokens go (block · blockSize + place); padding, on the right, into block 0. */
  readonly slots: Tensor;
  /** New tokens that are a tree (tree attention, arXiv 2305.09781) and no sequence. Default: each sees those before it. */
  readonly tree?: TokenTree;
  /** [h]: see `AttentionOptions`. Default: none. */
  readonly sinks?: Tensor;
}

/** New tokens of which several may follow the same one. */
export interface TokenTree {
  /** int32 [b, s]: how far each is behind the cache, from 0: its position is that many after the row's length. */
  readonly depths: Tensor;
  /** int32 [b, s, s]: 1 where a new token sees another one: its ancestors, and itself. */
  readonly visible: Tensor;
}

/**
 * Attention of new tokens over a cache kept in blocks (PagedAttention, arXiv 2309.06180): `cachedAttention` for rows whose
 * past is spread over a pool that all rows share. Gives [b, h, s, d], and both pools with the new tokens written. Who owns
 * which block is the caller's business: see `KvBlocks`. What else the blocks of a row hold (tokens of rows that had them
 * before) has no effect, be it NaN.
 */
export function pagedAttention(
  inputs: PagedAttentionInputs,
  options: PagedAttentionOptions,
): { output: Tensor; keys: Tensor; values: Tensor; keyScales?: Tensor; valueScales?: Tensor } {
  assertKnownOptions('pagedAttention', options, ['scale', 'softCap', 'slidingWindow', 'alibi', 'blockSize']);
  const { blockSize, ...config } = options;
  checkPaged(inputs, options);
  const { q, k, v, table, lengths, slots, sinks } = inputs;
  const [, heads, s] = k.shape as [number, number, number, number];
  const shape = { blockSize, heads };
  const [keys, values] = [
    written({ pool: inputs.keys, scales: inputs.keyScales }, k, slots),
    written({ pool: inputs.values, scales: inputs.valueScales }, v, slots),
  ];
  const pools = {
    ...{ keys: keys.pool, values: values.pool },
    ...(keys.scales && values.scales && { keyScales: keys.scales, valueScales: values.scales }),
  };
  // One new token is what engines have a fused kernel for; it writes the token once more, into the copy.
  if (s === 1) {
    const [pastKeys, pastValues] = [readPool(keys, table, shape), readPool(values, table, shape)];
    const own = { k: keys.stored, v: values.stored };
    const { output } = cachedAttention({ q, ...own, pastKeys, pastValues, lengths, ...(sinks && { sinks }) }, config);
    return { output, ...pools };
  }
  const added = slots.greaterEqual(blockSize).cast('int32').sum(1);
  const blockAt = ([start, end]: Columns, after: readonly Tensor[]): KeyBlock => {
    const part = barrier(table, after).slice(1, start / blockSize, end / blockSize);
    const own = (pool: Pool) => onlyFirst(readPool(pool, part, shape), lengths.add(added).sub(start));
    const distances = inputs.tree
      ? treeDistances(inputs.tree, lengths, [start, end])
      : sequenceDistances(lengths, s, [start, end]);
    return { keys: own(keys), values: own(values), bias: biasBehind(distances, q, config) };
  };
  const columns = columnBlocks([...q.shape.slice(0, 3), table.shape[1]! * blockSize], blockSize);
  return { output: attentionBehind(q, columns, blockAt, config, sinks), ...pools };
}

/** A pool of floats, or of codes with their scales. */
interface Pool {
  readonly pool: Tensor;
  readonly scales?: Tensor | undefined;
}

/** A pool with x [b, kv, s, d] written at `slots`, and `stored`: what it has of x. */
function written({ pool, scales }: Pool, x: Tensor, slots: Tensor): Pool & { readonly stored: Tensor } {
  if (!scales) return { pool: writeBlocks(pool, x, slots), stored: x };
  const rows = toInt8Rows(x);
  const parts = { pool: writeBlocks(pool, rows.codes, slots), scales: writeBlocks(scales, rows.scales, slots) };
  return { ...parts, stored: fromInt8Rows(rows).cast(x.dtype) };
}

/** `readBlocks` of either kind. */
function readPool(
  { pool, scales }: Pool,
  table: Tensor,
  shape: { readonly blockSize: number; readonly heads: number },
): Tensor {
  const codes = readBlocks(pool, table, shape);
  return scales ? fromInt8Rows({ codes, scales: readBlocks(scales, table, shape) }) : codes;
}

function sequenceDistances(lengths: Tensor, s: number, [start, end]: Columns): Distances {
  const row = lengths.reshape([lengths.size, 1, 1]).add(iota([1, s, 1], 1));
  const distance = row.sub(iota([1, 1, end - start], 2).add(start));
  return { distance, seen: distance.greaterEqual(0) };
}

function treeDistances({ depths, visible }: TokenTree, lengths: Tensor, [start, end]: Columns): Distances {
  const [b, s] = depths.shape as [number, number];
  const width = end - start;
  const length = lengths.reshape([b, 1, 1]);
  const offset = iota([1, 1, width], 2).add(start).sub(length);
  // Which new token a place holds; others read one that does not count.
  const token = offset.maximum(0).minimum(s - 1);
  const depth = depths.takeAlongAxis(token.reshape([b, width]), 1).reshape([b, 1, width]);
  const [isPast, isNew] = [offset.less(0), offset.greaterEqual(0).and(offset.less(s))];
  const position = length.add(where(isPast, offset, depth));
  const isAncestor = visible.takeAlongAxis(token.broadcastTo([b, s, width]), 2).greater(0);
  const distance = length.add(depths.reshape([b, s, 1])).sub(position);
  return { distance, seen: isPast.or(isNew.and(isAncestor)) };
}

/** A pool with the keys or values [b, kv, s, d] of new tokens written at `slots` int32 [b, s]: see `PagedAttentionInputs`. */
export function writeBlocks(pool: Tensor, added: Tensor, slots: Tensor): Tensor {
  const [b, heads, s, d] = added.shape as [number, number, number, number];
  const rows = slots
    .reshape([b, 1, s])
    .add(iota([1, heads, 1], 1).mul(pool.shape[0]! / heads))
    .reshape([b * heads * s]);
  return putRows(pool, rows, added.reshape([b * heads * s, d]));
}

/** The keys or values [b, heads, w · blockSize, d] in the blocks of `table` int32 [b, w]. */
export function readBlocks(
  pool: Tensor,
  table: Tensor,
  { blockSize, heads }: { readonly blockSize: number; readonly heads: number },
): Tensor {
  const [rows, d] = pool.shape as [number, number];
  const [b, w] = table.shape as [number, number];
  const blocks = rows / blockSize;
  const at = table.reshape([b, 1, w]).add(iota([1, heads, 1], 1).mul(blocks / heads));
  return pool
    .reshape([blocks, blockSize * d])
    .gather(at, 0)
    .reshape([b, heads, w * blockSize, d]);
}

function checkPaged(inputs: PagedAttentionInputs, options: PagedAttentionOptions): void {
  const name = 'pagedAttention';
  const { q, k, v, keys, values, table, lengths, slots, tree } = inputs;
  const { blockSize } = options;
  checkNumbers(name, options);
  if (!Number.isInteger(blockSize) || blockSize < 1) {
    throw new KernelOptionError(name, `blockSize must be a positive integer, not ${blockSize}`);
  }
  for (const [part, indices] of Object.entries({ table, lengths, slots, ...tree }))
    checkIndices(name, indices.spec, part);
  const shapes = [q, k, v, keys, values, table, lengths, slots].map(({ shape }) => shape);
  const [b, h, s, d] = q.shape;
  const kv = k.shape[1]!;
  const fits =
    shapes.map((shape) => shape.length).join() === '4,4,4,2,2,2,1,2' &&
    k.shape.join() === [b, kv, s, d].join() &&
    h! % kv === 0 &&
    v.shape.slice(0, 3).join() === [b, kv, s].join() &&
    keys.shape[0] === values.shape[0] &&
    keys.shape[0]! % (kv * blockSize) === 0 &&
    keys.shape[1] === d &&
    values.shape[1] === v.shape[3] &&
    table.shape[0] === b &&
    lengths.shape[0] === b &&
    slots.shape.join() === [b, s].join() &&
    (!tree || (tree.depths.shape.join() === [b, s].join() && tree.visible.shape.join() === [b, s, s].join()));
  const { keyScales, valueScales } = inputs;
  const scales = [keyScales, valueScales].map((x) => x?.shape.join());
  if (keyScales || valueScales) {
    const isScaled = scales.every((shape) => shape === [keys.shape[0], 1].join());
    if (!isScaled || keys.dtype !== 'uint8' || values.dtype !== 'uint8') {
      throw new ShapeError(name, shapes, 'pools in 8 bits are uint8, both with scales [kv · blocks · blockSize, 1]');
    }
  }
  if (!fits) {
    throw new ShapeError(
      name,
      shapes,
      `needs q [b, h, s, d], k and v [b, kv, s, d], pools [kv · blocks · ${blockSize}, d], table [b, w], lengths [b], slots [b, s], and of a tree depths [b, s] and visible [b, s, s]`,
    );
  }
}

/**
 * A pool [kv · blocks · blockSize, d] with blocks copied: `from` and `to` int32 [n] are block numbers, `to` without
 * repetition.
 */
export function copyBlocks(
  pool: Tensor,
  from: Tensor,
  to: Tensor,
  { blockSize, heads }: { readonly blockSize: number; readonly heads: number },
): Tensor {
  const [rows] = pool.shape as [number, number];
  const [n] = from.shape as [number];
  const head = iota([heads, 1, 1], 0).mul(rows / heads);
  const rowsOf = (blocks: Tensor) =>
    head
      .add(blocks.mul(blockSize).reshape([1, n, 1]))
      .add(iota([1, 1, blockSize], 2))
      .reshape([heads * n * blockSize]);
  return putRows(pool, rowsOf(to), pool.gather(rowsOf(from), 0));
}
