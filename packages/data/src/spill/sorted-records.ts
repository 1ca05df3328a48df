import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { DataOptionError } from '../errors.js';

const READ_BYTES = 1 << 18;

/** What records are sorted by, and with how much memory. */
export interface SortedRecordsOptions {
  /** Bytes of every record. */
  readonly recordBytes: number;
  /** Bytes of records held before they are written out as a run. Default 256 MiB. */
  readonly memoryBytes?: number;
  /** A folder for the runs, such as `context.scratch()` gives; asked for when the first is written. */
  readonly folder: () => Promise<string>;
}

/**
 * External merge sort of binary records of one length, by their bytes: what does not fit into memory is written out as sorted runs,
 * which `sorted` merges. Equal records stay apart. Write numbers big-endian, and their order is that of the records.
 */
export class SortedRecords {
  readonly #recordBytes: number;
  readonly #folder: () => Promise<string>;
  readonly #buffer: Buffer;
  readonly #runs: string[] = [];
  #count = 0;

  /** @throws DataOptionError where not even one record fits */
  constructor({ recordBytes, memoryBytes = 256 * 2 ** 20, folder }: SortedRecordsOptions) {
    const most = Math.floor(memoryBytes / recordBytes);
    if (!(most >= 1))
      throw new DataOptionError('SortedRecords', `"memoryBytes" must be at least ${recordBytes}, one record.`);
    this.#recordBytes = recordBytes;
    this.#folder = folder;
    this.#buffer = Buffer.allocUnsafe(most * recordBytes);
  }

  /** Adds a record, which is copied. */
  async add(record: Uint8Array): Promise<void> {
    if (record.length !== this.#recordBytes) {
      throw new DataOptionError(
        'SortedRecords',
        `a record has ${record.length} bytes instead of ${this.#recordBytes}.`,
      );
    }
    if ((this.#count + 1) * this.#recordBytes > this.#buffer.length) await this.#writeRun();
    this.#buffer.set(record, this.#count++ * this.#recordBytes);
  }

  /** All records in order. Can be read once; a record is only valid until the next one is asked for. */
  async *sorted(): AsyncGenerator<Buffer> {
    const runs: AsyncIterator<Buffer>[] = this.#runs.map((path) => readRecords(path, this.#recordBytes));
    runs.push(asyncOf(this.#sortedBuffer()));
    try {
      yield* mergeRuns(runs);
    } finally {
      for (const run of runs) await run.return?.();
    }
  }

  *#sortedBuffer(): Generator<Buffer> {
    const at = (i: number) => this.#buffer.subarray(i * this.#recordBytes, (i + 1) * this.#recordBytes);
    const [buffer, bytes] = [this.#buffer, this.#recordBytes];
    const order = new Uint32Array(this.#count)
      .map((_, i) => i)
      .sort((a, b) => buffer.compare(buffer, b * bytes, (b + 1) * bytes, a * bytes, (a + 1) * bytes));
    for (const i of order) yield at(i);
  }

  async #writeRun(): Promise<void> {
    const path = join(await this.#folder(), `run-${this.#runs.length}`);
    const file = await open(path, 'wx');
    try {
      let pending: Buffer[] = [];
      for (const record of this.#sortedBuffer()) {
        pending.push(record);
        if (pending.length * this.#recordBytes < READ_BYTES) continue;
        await file.writeFile(Buffer.concat(pending));
        pending = [];
      }
      await file.writeFile(Buffer.concat(pending));
    } finally {
      await file.close();
    }
    this.#runs.push(path);
    this.#count = 0;
  }
}

/** Merge of sorted runs with a binary heap of their heads. */
async function* mergeRuns(runs: readonly AsyncIterator<Buffer>[]): AsyncGenerator<Buffer> {
  const heap: { readonly run: AsyncIterator<Buffer>; head: Buffer }[] = [];
  const sink = (start: number): void => {
    for (let parent = start; ; ) {
      let least = parent;
      for (const child of [2 * parent + 1, 2 * parent + 2]) {
        if (child < heap.length && Buffer.compare(heap[child]!.head, heap[least]!.head) < 0) least = child;
      }
      if (least === parent) return;
      [heap[parent], heap[least]] = [heap[least]!, heap[parent]!];
      parent = least;
    }
  };
  for (const run of runs) {
    const { done, value } = await run.next();
    if (!done) heap.push({ run, head: value });
  }
  for (let i = heap.length >> 1; i >= 0; i--) sink(i);
  while (heap.length > 0) {
    const first = heap[0]!;
    yield first.head;
    const { done, value } = await first.run.next();
    if (!done) first.head = value;
    else {
      const last = heap.pop()!;
      if (heap.length > 0) heap[0] = last;
    }
    sink(0);
  }
}

async function* readRecords(path: string, recordBytes: number): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(path, { highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>) {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    let start = 0;
    for (; start + recordBytes <= bytes.length; start += recordBytes) yield bytes.subarray(start, start + recordBytes);
    rest = bytes.subarray(start);
  }
}

async function* asyncOf(items: Iterable<Buffer>): AsyncGenerator<Buffer> {
  yield* items;
}
