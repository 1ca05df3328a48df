import { integer } from '@posttrain/interfaces';
import { isMarked, MarkBits, type Marks, Places, placesOf } from '../dedup/row-marks.js';
import { DataOptionError } from '../errors.js';
import { SortedRecords } from '../spill/sorted-records.js';
import type { Shard, StepContext } from '../step.js';

/** The option of steps that sort more than memory holds. */
export const spillMemory = {
  /** Memory for hashes, which go to disk beyond it. Default 256 MiB. */
  memoryBytes: integer({ default: 256 * 2 ** 20, min: 2 ** 16, decisive: false }),
};

/** Marks the parts of rows that were there before, by their places among the parts of all rows. */
export type RepeatedParts = Marks;

const HASH_BYTES = 16;
/** A hash, and the place of its part in 48 bits. */
const RECORD_BYTES = HASH_BYTES + 6;

/**
 * Finds the parts of rows that stood in a row before, or earlier in the same one: all but the first of equal hashes, whose first 16 bytes are compared. A
 * part without a hash is compared with nothing. Keeps one bit to a part; hashes are sorted in `memoryBytes`, and beyond it on disk.
 */
export async function repeatedParts<R extends object>(
  rows: AsyncIterable<R>,
  context: StepContext<R>,
  memoryBytes: number,
  hashesOf: (row: R, rowNumber: number) => readonly (Uint8Array | undefined)[],
): Promise<RepeatedParts> {
  const records = new SortedRecords({ recordBytes: RECORD_BYTES, memoryBytes, folder: () => context.scratch() });
  const record = Buffer.alloc(RECORD_BYTES);
  const places = new Places(context.shard);
  let done = 0;
  for await (const row of rows) {
    for (const hash of hashesOf(row, ++done)) {
      const place = places.next(row, context);
      if (place === 2 ** 34) throw new DataOptionError('repeatedParts', 'more than 2^34 parts are not compared.');
      if (hash === undefined) continue;
      for (let i = 0; i < HASH_BYTES; i++) record[i] = hash[i]!;
      record.writeUIntBE(place, HASH_BYTES, 6);
      const full = records.add(record);
      if (full !== undefined) await full;
    }
    if (done % 1000 === 0) context.onProgress({ stage: 'hashes of parts', done });
  }
  const bits = new MarkBits();
  const previous = Buffer.alloc(HASH_BYTES);
  let isFirst = true;
  for await (const batch of records.batches()) {
    for (let at = 0; at < batch.length; at += RECORD_BYTES) {
      const equal = !isFirst && batch.compare(previous, 0, HASH_BYTES, at, at + HASH_BYTES) === 0;
      if (equal) bits.set(batch.readUIntBE(at + HASH_BYTES, 6));
      else batch.copy(previous, 0, at, at + HASH_BYTES);
      isFirst = false;
    }
  }
  return places.marks(bits);
}

/** For each row of a shard, one after the other, which of its parts (of so many) were there before. */
export function repeatedOf({ marked, ranks }: RepeatedParts, shard: Shard): (parts: number) => readonly number[] {
  const next = placesOf(ranks, shard);
  return (parts) => {
    const repeated: number[] = [];
    for (let part = 0; part < parts; part++) if (isMarked(marked, next())) repeated.push(part);
    return repeated;
  };
}
