import { iota } from '../create.js';
import { ShapeError } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { type AttentionConfig, attention } from './attention.js';
import { biasOf } from './attention-mask.js';
import { checkFloats, checkIndices } from './check.js';
import type { Kernel } from './kernel.js';

export interface PagedAttentionConfig extends AttentionConfig {
  /** Tokens in a block. */
  readonly blockSize: number;
}

/**
 * Attention of new tokens over a cache kept in blocks (PagedAttention, arXiv 2309.06180): `cachedAttention` for rows whose
 * past is spread over a pool that all rows share.
 *
 * Inputs: q [b, h, s, d]; k, v [b, kv, s, d] of the new tokens; pools of keys and values [kv, blocks · blockSize, d]; table
 * int32 [b, w], the blocks of each row in order; lengths int32 [b], the tokens each row has in the cache already. Outputs:
 * [b, h, s, d], and both pools with the new tokens written. A row must own the blocks that its new tokens fall into
 * (`KvBlocks` sees to it); padding is written to what the table says there, so unused entries name a block that nobody owns.
 */
export const pagedAttentionKernel: Kernel<PagedAttentionConfig> = {
  name: 'pagedAttention',
  infer: ([q, k, v, keys, values, table, lengths], { blockSize }) => {
    checkFloats('pagedAttention', q!, k!, v!, keys!, values!);
    checkIndices('pagedAttention', table!, 'table');
    checkIndices('pagedAttention', lengths!, 'lengths');
    const shapes = [q, k, v, keys, values, table, lengths].map((spec) => spec!.shape);
    const [b, h, s, d] = q!.shape;
    const [kb, kv, ks, kd] = k!.shape;
    const fits =
      shapes.map((shape) => shape.length).join() === '4,4,4,3,3,2,1' &&
      [kb, ks, kd].join() === [b, s, d].join() &&
      h! % kv! === 0 &&
      v!.shape.slice(0, 3).join() === [b, kv, s].join() &&
      keys!.shape[0] === kv &&
      values!.shape[0] === kv &&
      keys!.shape[1] === values!.shape[1] &&
      keys!.shape[1]! % blockSize === 0 &&
      keys!.shape[2] === d &&
      values!.shape[2] === v!.shape[3] &&
      table!.shape[0] === b &&
      lengths!.shape[0] === b;
    if (!fits) {
      throw new ShapeError(
        'pagedAttention',
        shapes,
        `needs q [b, h, s, d], k and v [b, kv, s, d], pools [kv, blocks · ${blockSize}, d], table [b, w] and lengths [b]`,
      );
    }
    return [{ shape: [b!, h!, s!, v!.shape[3]!], dtype: q!.dtype }, keys!, values!];
  },
  decompose: ([q, k, v, keys, values, table, lengths], { scale, blockSize }) => {
    const [b, , s] = q!.shape as [number, number, number];
    const capacity = table!.shape[1]! * blockSize;
    // Place in the pool of every position a row can have.
    const places = slotsOf(table!, blockSize).reshape([b, capacity]);
    const positions = lengths!.reshape([b, 1]).add(iota([1, s], 1));
    const write = (pool: Tensor, added: Tensor) => {
      const [, kv, , d] = added.shape as [number, number, number, number];
      const at = places
        .takeAlongAxis(positions.minimum(capacity - 1), 1)
        .reshape([1, b * s, 1])
        .broadcastTo([kv, b * s, d]);
      return pool.putAlongAxis(at, added.transpose([1, 0, 2, 3]).reshape([kv, b * s, d]), 1);
    };
    const [newKeys, newValues] = [write(keys!, k!), write(values!, v!)];
    const read = (pool: Tensor) => pool.gather(places, 1).transpose([1, 0, 2, 3]);
    const visible = iota([1, 1, capacity], 2).lessEqual(positions.reshape([b, s, 1]));
    const bias = biasOf(visible, q!.dtype).reshape([b, 1, s, capacity]);
    return [attention(q!, read(newKeys), read(newValues), bias, { scale }), newKeys, newValues];
  },
};

/** See `pagedAttentionKernel`. */
export function pagedAttention(
  inputs: { q: Tensor; k: Tensor; v: Tensor; keys: Tensor; values: Tensor; table: Tensor; lengths: Tensor },
  config: PagedAttentionConfig,
): { output: Tensor; keys: Tensor; values: Tensor } {
  const { q, k, v, table, lengths } = inputs;
  const [output, keys, values] = applyKernel(
    pagedAttentionKernel,
    [q, k, v, inputs.keys, inputs.values, table, lengths],
    config,
  );
  return { output: output!, keys: keys!, values: values! };
}

/** A pool [kv, slots, d] with blocks copied: `from` and `to` int32 [n] are block numbers, `to` without repetition. */
export function copyBlocks(pool: Tensor, from: Tensor, to: Tensor, blockSize: number): Tensor {
  const [kv, , d] = pool.shape as [number, number, number];
  const n = from.shape[0]!;
  const at = slotsOf(to, blockSize)
    .reshape([1, n * blockSize, 1])
    .broadcastTo([kv, n * blockSize, d]);
  return pool.putAlongAxis(at, pool.gather(slotsOf(from, blockSize).reshape([n * blockSize]), 1), 1);
}

/** Blocks [..., w] → the places in a pool that they take up [..., w, blockSize]. */
const slotsOf = (blocks: Tensor, blockSize: number): Tensor =>
  blocks
    .mul(blockSize)
    .expandDims(blocks.shape.length)
    .add(iota([blockSize], 0));
