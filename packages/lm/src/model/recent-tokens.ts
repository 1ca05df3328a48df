import { concat, iota, readBlocks, type Tensor, where, writeBlocks, zeros } from '@posttrain/core-tensor';
import { joinHeads, splitHeads } from './family.js';
import type { PagedInput } from './network.js';
import type { Prefixes } from './prefix.js';

/*
 * What a layer that convolves reads of the tokens before each token: of x [b, s, width] at each distance below `taps` the rows [b, s, width],
 * zeros where a sequence has not begun. A cache has such rows, too, in the place of keys and values: half of the features each, by head. So
 * all that shares, forks or takes back a cache by tokens does so here as with attention.
 */

/** Rows [b, s, width] as the cache has them: [b, heads, s, width / (2 · heads)] each. */
function halves(x: Tensor, heads: number): { readonly k: Tensor; readonly v: Tensor } {
  const half = x.shape[2]! / 2;
  return { k: splitHeads(x.slice(2, 0, half), heads), v: splitHeads(x.slice(2, half), heads) };
}

const whole = (keys: Tensor, values: Tensor): Tensor => concat([joinHeads(keys), joinHeads(values)], 2);

const distances = (taps: number): number[] => Array.from({ length: taps }, (_, distance) => distance);

/** Of whole rows: `positions` int32 [b, s] restart where sequences meet. A prefix stands before every sequence, and is counted in them. */
export function recentOfRows(
  x: Tensor,
  taps: number,
  positions: Tensor,
  prefix?: { readonly rows: Tensor; readonly count: number; readonly from: Tensor },
): Tensor[] {
  const [b, s, width] = x.shape as [number, number, number];
  const count = prefix?.count ?? 0;
  return distances(taps).map((distance) => {
    if (distance === 0) return x;
    const gap = Math.min(distance, s);
    const moved = concat([zeros([b, gap, width], x.dtype), x.slice(1, 0, s - gap)], 1);
    const at = positions.sub(distance);
    const own = where(at.greaterEqual(count).expandDims(2), moved, 0);
    if (!prefix) return own;
    const before = prefix.rows.cast(x.dtype).gather(
      at
        .maximum(0)
        .minimum(count - 1)
        .add(prefix.from),
    );
    return where(at.greaterEqual(0).and(at.less(count)).expandDims(2), before, own);
  });
}

/** The rows [kinds · v, width] of a layer of a prefix, as `recentOfRows` takes them, with where each token's kind begins. */
export function prefixRows({ layers, count }: Prefixes, layer: number, kind: Tensor) {
  const { keys, values } = layers[layer]!;
  return { rows: whole(keys.expandDims(0), values.expandDims(0)).squeeze(0), count, from: kind.mul(count) };
}

/** The rows [1, n, width] as a prefix has them: [heads, n, width / (2 · heads)] each. */
export function asPrefix(x: Tensor, heads: number): { readonly keys: Tensor; readonly values: Tensor } {
  const [b, s, width] = x.shape as [number, number, number];
  const { k, v } = halves(x.reshape([1, b * s, width]), heads);
  return { keys: k.squeeze(0), values: v.squeeze(0) };
}

/** What is found, and the cache with the new tokens in it. */
export interface RecentTokens {
  readonly found: Tensor[];
  readonly keys: Tensor;
  readonly values: Tensor;
}

type Past = { readonly keys: Tensor; readonly values: Tensor };

/** Of new tokens appended to a cache [b, heads, capacity, d] that has `lengths` int32 [b] of each row. */
export function recentOfCache(x: Tensor, taps: number, past: Past, lengths: Tensor): RecentTokens {
  const [b, s] = x.shape as [number, number, number];
  const { k, v } = halves(x, past.keys.shape[1]!);
  const at = lengths.reshape([b, 1]).add(iota([1, s], 1));
  const along = (places: Tensor) => places.reshape([b, 1, s, 1]).broadcastTo(k.shape);
  const [keys, values] = [past.keys.putAlongAxis(along(at), k, 2), past.values.putAlongAxis(along(at), v, 2)];
  const found = distances(taps).map((distance) => {
    if (distance === 0) return x;
    const place = at.sub(distance);
    const from = along(place.maximum(0));
    const rows = whole(keys.takeAlongAxis(from, 2), values.takeAlongAxis(from, 2));
    return where(place.greaterEqual(0).expandDims(2), rows, 0);
  });
  return { found, keys, values };
}

/** The same of a cache in blocks; in a tree of new tokens, the tokens before one are those that lead to it. */
export function recentOfBlocks(x: Tensor, taps: number, past: Past, input: PagedInput, heads: number): RecentTokens {
  const { table, slots, lengths, blockSize, tree } = input;
  const [b, s] = x.shape as [number, number, number];
  const { k, v } = halves(x, heads);
  const [keys, values] = [writeBlocks(past.keys, k, slots), writeBlocks(past.values, v, slots)];
  const [ownKeys, ownValues] = [keys, values].map((pool) => readBlocks(pool, table, { blockSize, heads })) as [
    Tensor,
    Tensor,
  ];
  const depths = tree?.depths ?? iota([1, s], 1).broadcastTo([b, s]);
  const found = distances(taps).map((distance) => {
    if (distance === 0) return x;
    const depth = depths.sub(distance);
    const place = lengths.reshape([b, 1]).add(depth);
    const from = place.maximum(0).reshape([b, 1, s, 1]).broadcastTo(k.shape);
    const rows = whole(ownKeys.takeAlongAxis(from, 2), ownValues.takeAlongAxis(from, 2));
    const before = where(place.greaterEqual(0).expandDims(2), rows, 0);
    if (!tree) return before;
    const isIt = tree.visible.greater(0).and(depths.reshape([b, 1, s]).equal(depth.reshape([b, s, 1])));
    return where(depth.greaterEqual(0).expandDims(2), isIt.cast(x.dtype).matmul(x), before);
  });
  return { found, keys, values };
}
