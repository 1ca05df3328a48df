import type { Tensor } from '@posttrain/core-tensor';
import type { LayerState } from './recurrence/layer-state.js';

/** Keys and values of the tokens seen so far, one tensor [b, kv, capacity, d] per layer that attends each. */
export interface KeysAndValues {
  readonly keys: readonly Tensor[];
  readonly values: readonly Tensor[];
  /** Of pools in 8 bits, beside their codes: see `PagedAttentionInputs`. Left out: they are floats. */
  readonly keyScales?: readonly Tensor[];
  readonly valueScales?: readonly Tensor[];
}

/** What a model keeps of the tokens seen so far. */
export interface KvCache extends KeysAndValues {
  /** By layer that has a recurrence, its state [b, …] after these tokens; with `stateSlots`, pools [slots, …] of states. Left out: none has one. */
  readonly states?: readonly LayerState[];
}

/** What a cache holds its numbers as: `int8` is 8 bits a number and a scale for every token and head. */
export type KvCacheDtype = 'float32' | 'int8';

/** All keys and values of a cache, with their scales. */
export const tensorsOf = ({ keys, values, keyScales = [], valueScales = [] }: KeysAndValues): readonly Tensor[] => [
  ...keys,
  ...values,
  ...keyScales,
  ...valueScales,
];

/** Keys and values of a cache, each changed, or taken from several caches. Its states are left out. */
export function mapCache(
  cache: KeysAndValues,
  change: (tensors: readonly Tensor[], key: keyof KeysAndValues) => Tensor[],
): KeysAndValues {
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
