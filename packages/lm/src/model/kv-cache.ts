import type { Tensor } from '@posttrain/core-tensor';

/** Keys and values of the tokens seen so far, one tensor [b, kv, capacity, d] per layer each. */
export interface KvCache {
  readonly keys: readonly Tensor[];
  readonly values: readonly Tensor[];
  /** Of pools in 8 bits, beside their codes: see `PagedAttentionInputs`. Left out: they are floats. */
  readonly keyScales?: readonly Tensor[];
  readonly valueScales?: readonly Tensor[];
}

/** What a cache holds its numbers as: `int8` is 8 bits a number and a scale for every token and head. */
export type KvCacheDtype = 'float32' | 'int8';

/** All tensors of a cache. */
export const tensorsOf = ({ keys, values, keyScales = [], valueScales = [] }: KvCache): readonly Tensor[] => [
  ...keys,
  ...values,
  ...keyScales,
  ...valueScales,
];

/** A cache whose tensors are each changed, or taken from several caches. */
export function mapCache<In extends KvCache>(
  cache: In,
  change: (tensors: readonly Tensor[], key: keyof KvCache) => Tensor[],
): KvCache {
  const { keys, values, keyScales, valueScales } = cache;
  return {
    ...{ keys: change(keys, 'keys'), values: change(values, 'values') },
    ...(keyScales && { keyScales: change(keyScales, 'keyScales') }),
    ...(valueScales && { valueScales: change(valueScales, 'valueScales') }),
  };
}

/** `PagedInput` of layers with sliding windows: their tables begin with the first block that a row still has. */
export interface WindowedInput {
  /** int32 [b]: tokens that each row has in these layers. */
  readonly lengths: Tensor;
  /** int32 [b, w]; `extend` reads none. */
  readonly table?: Tensor;
  /** int32 [b, s]; `extend` reads none. */
  readonly slots?: Tensor;
}
