import { type FileHandle, open } from 'node:fs/promises';
import { getHeapStatistics } from 'node:v8';
import { type Given, integer, listOf, nearestName, options, type PosttrainError, text } from '@posttrain/interfaces';
import { assertPath, DataFileError, DataOptionError, messageOf } from '../../errors.js';
import type { Row } from '../../rows.js';
import { assemble, record } from './assemble.js';
import { type Budget, decodeChunk } from './column-chunk.js';
import { type ParquetMetadata, type ReadBytes, type RowGroup, readMetadata } from './metadata.js';
import { at, damaged, ParquetProblem } from './problem.js';
import { leavesOf, type SchemaNode } from './schema-tree.js';

const readParquetOptions = options('readParquet', {
  /** Read only these columns. Default: all. */
  columns: listOf(text({}), { optional: true }),
  /**
   * Memory that the decoded columns of one row group may take, in bytes, as far as it can be known before they are decoded; a
   * row group that needs more is an error. Default: half of what the process may use for JavaScript objects.
   */
  maxRowGroupBytes: integer({ optional: true, min: 1, decisive: false }),
});
/** Options of `readParquet`. */
export type ReadParquetOptions = Given<typeof readParquetOptions>;

/**
 * Rows of a Parquet file, one row group in memory at a time: all encodings, both page versions, and the codecs Snappy, gzip,
 * Brotli, zstd and LZ4.
 *
 * Nothing is rounded or dropped. 64-bit integers and decimals of up to 15 digits are numbers where that is exact: other
 * integers are bigints, and decimals of more digits (by the column's type) are texts as written. Dates and timestamps are Dates; a timestamp with
 * a part of a millisecond is an ISO text with all its digits, and a time of day `HH:MM:SS` with its digits. UUIDs are texts, JSON is
 * parsed, byte arrays that are no strings are Uint8Arrays. Groups are objects, lists arrays, maps whose keys are different texts
 * objects, other maps lists of `{ key, value }`; keys such as `__proto__` are ordinary ones. INTERVAL, BSON and VARIANT are refused.
 *
 * A damaged file is a `DataFileError` that names the row group and the column: every offset, size, count and level is checked before it is used,
 * page checksums where the file has them, and memory is bounded by `maxRowGroupBytes`.
 */
export async function* readParquet(path: string, given: ReadParquetOptions = {}): AsyncGenerator<Row> {
  const settings = readParquetOptions.read(given);
  const { columns, maxRowGroupBytes = Math.floor(getHeapStatistics().heap_size_limit / 2) } = settings;
  assertPath(path);
  const fail = (error: unknown): PosttrainError => {
    if (error instanceof DataFileError || error instanceof DataOptionError) return error;
    return new DataFileError({ path }, `cannot be read as Parquet: ${messageOf(error)}`, { cause: error });
  };
  const handle = await attempt(fail, () => open(path, 'r'));
  try {
    const read = readerOf(handle);
    const { metadata, nodes } = await attempt(fail, async () => {
      const metadata = await readMetadata((await handle.stat()).size, read);
      return { metadata, nodes: selectColumns(path, metadata, columns) };
    });
    for (const [i, group] of metadata.rowGroups.entries()) {
      const next = await attempt(fail, () => decodeRowGroup(group, i + 1, nodes, read, maxRowGroupBytes));
      for (let row = 0; row < group.rows; row++) {
        let made: Row;
        try {
          made = next(row);
        } catch (error) {
          throw fail(error);
        }
        yield made;
      }
    }
  } finally {
    await handle.close();
  }
}

async function attempt<T>(fail: (error: unknown) => Error, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw fail(error);
  }
}

/** Decodes the columns of a row group; the result makes its rows in order. */
async function decodeRowGroup(
  group: RowGroup,
  number: number,
  nodes: readonly SchemaNode[],
  read: ReadBytes,
  maxBytes: number,
): Promise<(row: number) => Row> {
  const budget: Budget = { left: maxBytes };
  const names = nodes.map((node) => node.name);
  const fields: (() => unknown)[] = [];
  const ends: (() => void)[] = [];
  for (const node of nodes) {
    const leaves = leavesOf(node);
    const columns = [];
    for (const [i, leaf] of leaves.entries()) {
      const place = `row group ${number}, column "${leaf.path.join('.')}"`;
      try {
        const chunk = group.chunks[node.firstLeaf + i]!;
        columns.push(decodeChunk(await read(chunk.start, chunk.end - chunk.start), chunk, leaf, budget));
      } catch (error) {
        throw at(place, error);
      }
    }
    const { next, end } = assemble(node, columns);
    const located = (run: () => unknown) => () => {
      try {
        return run();
      } catch (error) {
        throw at(`row group ${number}, column "${node.name}"`, error);
      }
    };
    fields.push(located(next));
    ends.push(located(end));
  }
  return (row) => {
    const made = record(names, fields);
    if (row === group.rows - 1) for (const end of ends) end();
    return made;
  };
}

function selectColumns(path: string, { root }: ParquetMetadata, wanted: readonly string[] | undefined): SchemaNode[] {
  if (wanted === undefined) return [...root.children];
  const names = root.children.map((node) => node.name);
  if (wanted.length === 0) throw new DataOptionError('readParquet', '"columns" is empty; name some, or leave it out.');
  for (const column of wanted) {
    if (names.includes(column)) continue;
    const near = nearestName(column, names);
    const hint = near === undefined ? '' : ` Did you mean "${near}"?`;
    throw new DataFileError({ path }, `there is no column "${column}".${hint} Columns: ${names.join(', ')}.`);
  }
  return root.children.filter((node) => wanted.includes(node.name));
}

/** The largest piece that one call of `read` takes. */
const MAX_READ = 1 << 30;

function readerOf(handle: FileHandle): ReadBytes {
  return async (start, length) => {
    if (length > 2 ** 32) throw new ParquetProblem(`${length} bytes are more than can be read at once.`);
    const bytes = new Uint8Array(length);
    for (let filled = 0; filled < length; ) {
      const piece = Math.min(MAX_READ, length - filled);
      const { bytesRead } = await handle.read(bytes, filled, piece, start + filled);
      if (bytesRead === 0) throw damaged(`the file ends at byte ${start + filled}`);
      filled += bytesRead;
    }
    return bytes;
  };
}
