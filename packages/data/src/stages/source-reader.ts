import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { isPosttrainError } from '@posttrain/interfaces';
import { DataStepError, messageOf } from '../errors.js';
import { eachRow, type RowSource } from '../rows.js';
import { canonicalJson } from '../stable-hash.js';
import type { Keyed, RowKey, Shard } from '../step.js';
import { readKeyedRows, writeKeyedRows } from './row-file.js';
import { throwIfAborted } from './step-counter.js';

/** What a stage has read of its source. */
export interface SourceMark {
  /** Rows read. */
  readonly rows: number;
  /** Whether there were no more. */
  readonly ended: boolean;
  /** SHA-256 of the rows, in canonical JSON. */
  readonly hash: string;
}

/** Rows, or a factory of them: each reading calls it. */
export type Source<R extends object> = RowSource<R> | (() => RowSource<R>);

/** Rows of a source of the user's, whose own errors say at which row it failed. */
export async function* fromSource(source: Source<object>): AsyncGenerator<object> {
  let rowNumber = 1;
  try {
    for await (const row of eachRow('pipeline', typeof source === 'function' ? source() : source)) {
      yield row;
      rowNumber++;
    }
  } catch (cause) {
    if (isPosttrainError(cause)) throw cause;
    throw new DataStepError('pipeline', rowNumber, `what gives the rows threw: ${messageOf(cause)}`, { cause });
  }
}

/** Reads a source for one shard, and hashes what it reads of it. */
export class SourceReader {
  readonly #rows: AsyncGenerator<object>;
  readonly #hash = createHash('sha256');
  readonly #hashes: boolean;
  #read = 0;
  #ended = false;

  /** `hashes`: false where the identity of the source is not checked later. */
  constructor(rows: AsyncGenerator<object>, hashes: boolean) {
    this.#rows = rows;
    this.#hashes = hashes;
  }

  /** The next row and its position; `undefined` at the end. */
  async next(): Promise<{ readonly row: object; readonly position: number } | undefined> {
    const { done, value } = await this.#rows.next();
    if (done) {
      this.#ended = true;
      return undefined;
    }
    if (this.#hashes) this.#hash.update(`${canonicalJson(value)}\n`);
    return { row: value, position: this.#read++ };
  }

  /** The rows of a shard. Reading fewer of them does not close the source: `finish` does. */
  async *shard(
    { rank, world }: Shard,
    keyOf: (row: object, position: number) => RowKey,
  ): AsyncGenerator<Keyed<object>> {
    for (let next = await this.next(); next !== undefined; next = await this.next()) {
      if (next.position % world === rank) yield { row: next.row, key: keyOf(next.row, next.position) };
    }
  }

  /** Closes the source; with `drain` it is read to its end first, so that all shards have read the same. */
  async finish(drain: boolean): Promise<SourceMark> {
    while (drain && !this.#ended) await this.next();
    await this.close();
    return this.mark();
  }

  mark(): SourceMark {
    return { rows: this.#read, ended: this.#ended, hash: this.#hashes ? this.#hash.copy().digest('hex') : '' };
  }

  async close(): Promise<void> {
    await this.#rows.return(undefined);
  }
}

/**
 * The mark of as many rows as an earlier run has read, and the source to read from the start once more: itself, or what was spooled to
 * `spool` of one that can be read once only.
 */
export async function markAgain(
  source: Source<object>,
  earlier: SourceMark,
  spool: () => Promise<string>,
  signal: AbortSignal,
): Promise<{ readonly mark: SourceMark; readonly source: Source<object> }> {
  const most = earlier.ended ? Number.POSITIVE_INFINITY : earlier.rows;
  const rows = fromSource(source);
  const reader = new SourceReader(rows, true);
  async function* counted(): AsyncGenerator<Keyed<object>> {
    for (let read = 0; read < most; read++) {
      throwIfAborted(signal);
      const next = await reader.next();
      if (next === undefined) return;
      yield { row: next.row, key: { id: '', position: next.position, lineage: [] } };
    }
  }
  if (isReadAgain(source)) {
    for await (const _ of counted());
    return { mark: await reader.finish(false), source };
  }
  const path = join(await spool(), 'source.rows');
  const file = await open(path, 'wx');
  let count = 0;
  try {
    count = await writeKeyedRows(counted(), async (bytes) => file.writeFile(bytes), 'pipeline');
  } finally {
    await file.close();
  }
  async function* spooled(): AsyncGenerator<object> {
    for await (const { row } of readKeyedRows(path, count)) yield row;
    yield* rows;
  }
  return { mark: reader.mark(), source: spooled() };
}

/**
 * Re-iterable: whether each reading of a source begins at its start, as with arrays and functions, and not with
 * generators.
 */
function isReadAgain(source: Source<object>): boolean {
  if (typeof source === 'function') return true;
  const iterator = Symbol.iterator in source ? source[Symbol.iterator]() : source[Symbol.asyncIterator]();
  return (iterator as object) !== source;
}
