import { DataStepError } from '../errors.js';
import type { RowKey } from '../step.js';

/** Identity map: keys of the rows of one run, which stay plain objects. */
export class RowKeys {
  #keys = new WeakMap<object, RowKey>();

  /** Rows that were read before are none of the run any more. */
  forget(): void {
    this.#keys = new WeakMap();
  }

  /** The row under a key. An object that is in the run already comes in as a copy, since it can have one key only. */
  admit(row: object, key: RowKey): object {
    const admitted = this.#keys.has(row) ? copyOf(row) : row;
    this.#keys.set(admitted, key);
    return admitted;
  }

  of(row: object): RowKey | undefined {
    return this.#keys.get(row);
  }

  set(row: object, key: RowKey): void {
    this.#keys.set(row, key);
  }

  /** Key of a row that must have one. @throws DataStepError */
  require(row: object, step: string, rowNumber: number): RowKey {
    const key = this.#keys.get(row);
    if (key !== undefined) return key;
    throw new DataStepError(
      step,
      rowNumber,
      'it asked for the key of an object that is no row of this pipeline; give it a row that was read, or one made with context.derive(made, from).',
    );
  }
}

const copyOf = (row: object): object =>
  Object.defineProperties(Object.create(Object.getPrototypeOf(row)), Object.getOwnPropertyDescriptors(row));
