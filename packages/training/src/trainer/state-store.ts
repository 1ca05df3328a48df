import type { TypedArray } from '@posttrain/core-tensor';

/** Where arrays are that are not in use. What is not there must not be read. */
export interface StateStore {
  /** The array that was written under this number, in memory of its own. */
  read(slot: number): TypedArray;
  write(slot: number, data: TypedArray): Promise<void>;
}

/** In the host's memory. */
export function hostStore(): StateStore {
  const arrays = new Map<number, TypedArray>();
  return {
    read: (slot) => arrays.get(slot)!.slice(),
    write: async (slot, data) => {
      const present = arrays.get(slot);
      if (present) present.set(data);
      else arrays.set(slot, data.slice());
    },
  };
}
