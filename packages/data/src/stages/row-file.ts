import { createReadStream } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
import type { WriteBytes } from '@posttrain/interfaces/node';
import { DataFileError, DataStepError, messageOf } from '../errors.js';
import type { Keyed } from '../step.js';

const FLUSH_BYTES = 1 << 20;
const HEADER_BYTES = 4;

/**
 * Writes keyed rows, one frame each: its length (32 bits, little-endian) and the value as Node's `v8.serialize` writes it, which
 * keeps dates, bigints, bytes and NaN as they are. Returns how many.
 */
export async function writeKeyedRows(
  rows: AsyncIterable<Keyed<object>>,
  write: WriteBytes,
  step: string,
): Promise<number> {
  let pending: Buffer[] = [];
  let size = 0;
  let count = 0;
  for await (const { key, row } of rows) {
    count++;
    const body = frameOf([key, row], step, count);
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32LE(body.length);
    pending.push(header, body);
    size += HEADER_BYTES + body.length;
    if (size < FLUSH_BYTES) continue;
    await write(Buffer.concat(pending));
    [pending, size] = [[], 0];
  }
  await write(Buffer.concat(pending));
  return count;
}

function frameOf(value: unknown, step: string, rowNumber: number): Buffer {
  try {
    return serialize(value);
  } catch (cause) {
    throw new DataStepError(step, rowNumber, `the row cannot be written to the work folder: ${messageOf(cause)}`, {
      cause,
    });
  }
}

/** Rows of a file of `writeKeyedRows`. @throws DataFileError unless it holds `count` whole rows */
export async function* readKeyedRows(path: string, count: number): AsyncGenerator<Keyed<object>> {
  let read = 0;
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(path, { highWaterMark: FLUSH_BYTES }) as AsyncIterable<Buffer>) {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    let start = 0;
    while (bytes.length - start >= HEADER_BYTES) {
      const end = start + HEADER_BYTES + bytes.readUInt32LE(start);
      if (end > bytes.length) break;
      const [key, row] = deserialize(bytes.subarray(start + HEADER_BYTES, end)) as [Keyed['key'], object];
      yield { key, row };
      read++;
      start = end;
    }
    rest = bytes.subarray(start);
  }
  if (read === count && rest.length === 0) return;
  throw new DataFileError({ path }, `holds ${read} whole rows of ${count}; delete the work folder and run again.`);
}

/**
 * K-way merge by position in the source, which gives rows of several shards the order that one shard would have given
 * them.
 */
export async function* mergeByPosition(parts: readonly AsyncIterable<Keyed<object>>[]): AsyncGenerator<Keyed<object>> {
  const iterators = parts.map((part) => part[Symbol.asyncIterator]());
  try {
    const heads = await Promise.all(iterators.map((iterator) => iterator.next()));
    for (;;) {
      let least = -1;
      for (const [i, head] of heads.entries()) {
        if (head.done) continue;
        const best = least < 0 ? undefined : heads[least]!;
        if (best === undefined || head.value.key.position < (best.value as Keyed).key.position) least = i;
      }
      if (least < 0) return;
      yield heads[least]!.value as Keyed<object>;
      heads[least] = await iterators[least]!.next();
    }
  } finally {
    for (const iterator of iterators) await iterator.return?.();
  }
}
