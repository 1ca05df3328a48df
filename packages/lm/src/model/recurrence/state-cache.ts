import { putRows, type Tensor, where, zerosBuffer } from '@posttrain/core-tensor';
import { type LayerState, type StateShape, type StateSlots, sizeOf } from './layer-state.js';

const mapped = <T, U>(all: Readonly<Record<string, T>>, change: (one: T, name: string) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(all).map(([name, one]) => [name, change(one, name)]));

/** A state of `rows` rows of zeros, in memory of its own: [rows, …]. */
export const emptyState = (shape: StateShape, rows: number): LayerState =>
  mapped(shape, (own) => zerosBuffer([rows, ...own]));

/** Pools for so many states of a layer, in memory of their own: [slots, size]. */
export const statePools = (shape: StateShape, slots: number): LayerState =>
  mapped(shape, (own) => zerosBuffer([slots, sizeOf(own)]));

/** The states [b, …] of rows that have `lengths` int32 [b] tokens before the pass: zeros where that is 0. */
export function readState(stored: LayerState, shape: StateShape, lengths: Tensor, slots?: StateSlots): LayerState {
  const [rows] = lengths.shape as [number];
  return mapped(shape, (own, name) => {
    const all = slots ? stored[name]!.gather(slots.from).reshape([rows, ...own]) : stored[name]!;
    return where(lengths.greater(0).reshape([rows, ...own.map(() => 1)]), all, 0);
  });
}

/** What is stored with the states after the pass. */
export function writeState(stored: LayerState, after: LayerState, slots?: StateSlots): LayerState {
  return mapped(stored, (pool, name) => {
    const own = after[name]!.cast(pool.dtype);
    return slots ? putRows(pool, slots.to, own.reshape([own.shape[0]!, pool.shape[1]!])) : own;
  });
}
