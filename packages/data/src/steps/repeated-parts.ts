import { integer } from '@posttrain/interfaces';
import { DataOptionError } from '../errors.js';
import { SortedRecords } from '../spill/sorted-records.js';
import type { StepContext } from '../step.js';
import { assertDistinct } from './minhash-deduplicate.js';

/** The option of steps that sort more than memory holds. */
export const spillMemory = {
  /** Memory for hashes, which go to disk beyond it. Default 256 MiB. */
  memoryBytes: integer({ default: 256 * 2 ** 20, min: 2 ** 16, decisive: false }),
};

/** Of rows by id, the places of those of their parts that were there before; rows without such parts are not in it. */
export interface RepeatedParts {
  readonly repeated: ReadonlyMap<string, readonly number[]>;
}

const HASH_BYTES = 16;
const RECORD_BYTES = HASH_BYTES + 8;

/**
 * Finds the parts of rows that stood in a row before, or earlier in the same one: all but the first of equal hashes, whose first 16 bytes are compared. A
 * part without a hash is compared with nothing. Keeps the ids of rows, and what is repeated.
 */
export async function repeatedParts<R extends object>(
  rows: AsyncIterable<R>,
  context: StepContext<R>,
  memoryBytes: number,
  hashesOf: (row: R, rowNumber: number) => readonly (Uint8Array | undefined)[],
): Promise<RepeatedParts> {
  const records = new SortedRecords({ recordBytes: RECORD_BYTES, memoryBytes, folder: () => context.scratch() });
  const record = Buffer.alloc(RECORD_BYTES);
  const ids: string[] = [];
  for await (const row of rows) {
    if (ids.length === 2 ** 32) throw new DataOptionError('repeatedParts', 'more than 2^32 rows are not compared.');
    record.writeUInt32BE(ids.length, HASH_BYTES);
    ids.push(context.keyOf(row).id);
    for (const [part, hash] of hashesOf(row, ids.length).entries()) {
      if (hash === undefined) continue;
      record.set(hash.subarray(0, HASH_BYTES));
      record.writeUInt32BE(part, HASH_BYTES + 4);
      await records.add(record);
    }
    if (ids.length % 1000 === 0) context.onProgress({ stage: 'hashes of parts', done: ids.length });
  }
  assertDistinct('repeated parts', ids);

  const repeated = new Map<string, number[]>();
  const previous = Buffer.alloc(HASH_BYTES);
  let isFirst = true;
  for await (const next of records.sorted()) {
    if (!isFirst && next.compare(previous, 0, HASH_BYTES, 0, HASH_BYTES) === 0) {
      const id = ids[next.readUInt32BE(HASH_BYTES)]!;
      const places = repeated.get(id) ?? [];
      places.push(next.readUInt32BE(HASH_BYTES + 4));
      repeated.set(id, places);
    } else next.copy(previous, 0, 0, HASH_BYTES);
    isFirst = false;
  }
  return { repeated: new Map(Array.from(repeated, ([id, places]) => [id, places.toSorted((a, b) => a - b)])) };
}
