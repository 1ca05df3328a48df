import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { DataOptionError } from '../errors.js';
import { compareRecords, sortedOrder } from './sort-records.js';

const BATCH_BYTES = 1 << 18;

/** What records are sorted by, and with how much memory. */
export interface SortedRecordsOptions {
  /** Bytes of every record. */
  readonly recordBytes: number;
  /** Bytes of records held before they are written out as a run. Default 256 MiB. */
  readonly memoryBytes?: number;
  /** A folder for the runs, such as `context.scratch()` gives; asked for when the first is written. */
  readonly folder: () => Promise<string>;
  /** Begins the names of the runs, where a folder has those of several. Default `run`. */
  readonly name?: string;
}

/**
 * External merge sort of binary records of one length, by their bytes: what does not fit into memory is written out as sorted runs,
 * which `sorted` merges. Equal records stay apart. Write numbers big-endian, and their order is that of the records.
 */
export class SortedRecords {
  readonly #recordBytes: number;
  readonly #folder: () => Promise<string>;
  readonly #name: string;
  readonly #runs: string[] = [];
  readonly #mostBytes: number;
  /** Grows up to `memoryBytes`. */
  #buffer: Buffer;
  #count = 0;

  /** @throws DataOptionError where not even one record fits */
  constructor({ recordBytes, memoryBytes = 256 * 2 ** 20, folder, name = 'run' }: SortedRecordsOptions) {
    const most = Math.floor(memoryBytes / recordBytes);
    if (!(most >= 1))
      throw new DataOptionError('SortedRecords', `"memoryBytes" must be at least ${recordBytes}, one record.`);
    this.#recordBytes = recordBytes;
    this.#folder = folder;
    this.#name = name;
    this.#mostBytes = most * recordBytes;
    this.#buffer = Buffer.allocUnsafe(Math.min(this.#mostBytes, 1024 * recordBytes));
  }

  /** Adds a record, which is copied. A promise only where a run is written, which must be waited for. */
  add(record: Uint8Array): Promise<void> | undefined {
    const bytes = this.#recordBytes;
    if (record.length !== bytes) {
      throw new DataOptionError('SortedRecords', `a record has ${record.length} bytes instead of ${bytes}.`);
    }
    if ((this.#count + 1) * bytes > this.#buffer.length) {
      if (this.#buffer.length === this.#mostBytes) {
        const copy = Uint8Array.from(record);
        return this.#writeRun().then(() => this.#put(copy));
      }
      const larger = Buffer.allocUnsafe(Math.min(this.#mostBytes, 4 * this.#buffer.length));
      larger.set(this.#buffer);
      this.#buffer = larger;
    }
    this.#put(record);
    return undefined;
  }

  #put(record: Uint8Array): void {
    this.#buffer.set(record, this.#count++ * this.#recordBytes);
  }

  /** All records in order. Can be read once; a record is only valid until the next one is asked for. */
  async *sorted(): AsyncGenerator<Buffer> {
    const bytes = this.#recordBytes;
    for await (const batch of this.batches())
      for (let at = 0; at < batch.length; at += bytes) yield batch.subarray(at, at + bytes);
  }

  /** The same, many records to a buffer, which is only valid until the next one is asked for. */
  async *batches(): AsyncGenerator<Buffer> {
    const own = this.#sortedBatches();
    if (this.#runs.length === 0) {
      yield* own;
      return;
    }
    const runs: AsyncGenerator<Buffer>[] = this.#runs.map((path) => readBatches(path, this.#recordBytes));
    runs.push(asyncOf(own));
    try {
      yield* mergeRuns(runs, this.#recordBytes);
    } finally {
      for (const run of runs) await run.return(undefined);
    }
  }

  *#sortedBatches(): Generator<Buffer> {
    const [buffer, bytes] = [this.#buffer, this.#recordBytes];
    const order = sortedOrder(buffer, this.#count, bytes);
    const perBatch = Math.max(1, Math.floor(BATCH_BYTES / bytes));
    for (let start = 0; start < order.length; start += perBatch) {
      const count = Math.min(perBatch, order.length - start);
      const batch = Buffer.allocUnsafe(count * bytes);
      for (let i = 0; i < count; i++) {
        const from = order[start + i]! * bytes;
        batch.set(buffer.subarray(from, from + bytes), i * bytes);
      }
      yield batch;
    }
  }

  async #writeRun(): Promise<void> {
    const path = join(await this.#folder(), `${this.#name}-${this.#runs.length}`);
    const file = await open(path, 'wx');
    try {
      for (const batch of this.#sortedBatches()) await file.writeFile(batch);
    } finally {
      await file.close();
    }
    this.#runs.push(path);
    this.#count = 0;
  }
}

interface Head {
  readonly run: AsyncGenerator<Buffer>;
  batch: Buffer;
  at: number;
}

/** Merge of sorted runs with a binary heap of their heads. */
async function* mergeRuns(runs: readonly AsyncGenerator<Buffer>[], bytes: number): AsyncGenerator<Buffer> {
  const heap: Head[] = [];
  const less = (a: Head, b: Head): boolean => compareRecords(a.batch, a.at, b.batch, b.at, bytes) < 0;
  const sink = (start: number): void => {
    for (let parent = start; ; ) {
      let least = parent;
      for (let child = 2 * parent + 1; child <= 2 * parent + 2; child++) {
        if (child < heap.length && less(heap[child]!, heap[least]!)) least = child;
      }
      if (least === parent) return;
      [heap[parent], heap[least]] = [heap[least]!, heap[parent]!];
      parent = least;
    }
  };
  for (const run of runs) {
    const { done, value } = await run.next();
    if (!done) heap.push({ run, batch: value, at: 0 });
  }
  for (let i = heap.length >> 1; i >= 0; i--) sink(i);
  const most = Math.max(1, Math.floor(BATCH_BYTES / bytes)) * bytes;
  const merged = Buffer.allocUnsafe(most);
  let filled = 0;
  while (heap.length > 0) {
    const first = heap[0]!;
    merged.set(first.batch.subarray(first.at, first.at + bytes), filled);
    filled += bytes;
    if (filled === most) {
      yield merged;
      filled = 0;
    }
    first.at += bytes;
    if (first.at === first.batch.length) {
      const { done, value } = await first.run.next();
      if (!done) Object.assign(first, { batch: value, at: 0 });
      else {
        const last = heap.pop()!;
        if (heap.length > 0) heap[0] = last;
      }
    }
    sink(0);
  }
  if (filled > 0) yield merged.subarray(0, filled);
}

/** The records of a run, whole ones to a buffer. */
async function* readBatches(path: string, recordBytes: number): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(path, { highWaterMark: BATCH_BYTES }) as AsyncIterable<Buffer>) {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    const whole = bytes.length - (bytes.length % recordBytes);
    if (whole > 0) yield bytes.subarray(0, whole);
    rest = bytes.subarray(whole);
  }
}

async function* asyncOf(items: Iterable<Buffer>): AsyncGenerator<Buffer> {
  yield* items;
}
