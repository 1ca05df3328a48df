import { type FileHandle, open } from 'node:fs/promises';
import { assertKnownOptions, nearestName } from '@posttrain/interfaces';
import { type AsyncBuffer, parquetMetadataAsync, parquetReadObjects, parquetSchema } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { assertInteger, DataFileError, DataOptionError, messageOf } from '../errors.js';
import { isPlainObject, type Row, type RowSource } from '../rows.js';
import { type WriteSummary, writeFileAtomically } from './atomic-file.js';
import { inferParquetSchema, type ParquetSchema, toParquetValues, toSchemaElements } from './parquet-schema.js';

export interface ReadParquetOptions {
  /** Read only these columns. Default: all. */
  readonly columns?: readonly string[];
}

/**
 * Rows of a Parquet file, one row group in memory at a time. All codecs and encodings hyparquet knows.
 * 64-bit integers become numbers where that is exact and stay bigints where not; byte arrays without a string
 * annotation are Uint8Arrays; dates and timestamps are Dates.
 */
export async function* readParquet(path: string, options: ReadParquetOptions = {}): AsyncGenerator<Row> {
  assertKnownOptions('readParquet', options, ['columns']);
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    const file = await fileBuffer(handle);
    const metadata = await parquetMetadataAsync(file);
    const names = parquetSchema(metadata).children.map((child) => child.element.name);
    for (const column of options.columns ?? []) assertColumn(path, column, names);
    const columns = options.columns === undefined ? {} : { columns: [...options.columns] };
    let rowStart = 0;
    for (const group of metadata.row_groups) {
      const rowEnd = rowStart + Number(group.num_rows);
      const rows = await parquetReadObjects({ file, metadata, rowStart, rowEnd, compressors, utf8: false, ...columns });
      for (const row of rows) yield narrow(row) as Row;
      rowStart = rowEnd;
    }
  } catch (error) {
    if (error instanceof DataFileError) throw error;
    throw new DataFileError({ path }, `cannot be read as Parquet: ${messageOf(error)}`, { cause: error });
  } finally {
    await handle?.close();
  }
}

async function fileBuffer(handle: FileHandle): Promise<AsyncBuffer> {
  const { size } = await handle.stat();
  return {
    byteLength: size,
    async slice(start, end = size) {
      const bytes = new Uint8Array(Math.max(0, end - start));
      let filled = 0;
      while (filled < bytes.length) {
        const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled);
        if (bytesRead === 0) throw new Error(`the file ends at byte ${start + filled}, needed up to ${end}`);
        filled += bytesRead;
      }
      return bytes.buffer;
    },
  };
}

function assertColumn(path: string, column: string, names: readonly string[]): void {
  if (names.includes(column)) return;
  const near = nearestName(column, names);
  const hint = near === undefined ? '' : ` Did you mean "${near}"?`;
  throw new DataFileError({ path }, `there is no column "${column}".${hint} Columns: ${names.join(', ')}.`);
}

function narrow(value: unknown): unknown {
  if (value === undefined) return null;
  if (typeof value === 'bigint') {
    const exact = value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER);
    return exact ? Number(value) : value;
  }
  if (Array.isArray(value)) return value.map(narrow);
  if (isPlainObject(value)) return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, narrow(v)]));
  return value;
}

export interface WriteParquetOptions {
  /** Column types. Default: inferred from the first row group; later rows must fit, or there is an error. */
  readonly schema?: ParquetSchema;
  /** Rows per row group, which is what is held in memory. Default 10 000. */
  readonly rowGroupSize?: number;
}

/**
 * Writes rows as Parquet (Snappy, version 2 metadata), whole or not at all, streaming by row group. Objects become
 * structs and arrays lists, so `datasets` and pyarrow read messages as messages. Missing values become null.
 */
export async function writeParquet(
  path: string,
  rows: RowSource<object>,
  options: WriteParquetOptions = {},
): Promise<WriteSummary> {
  assertKnownOptions('writeParquet', options, ['schema', 'rowGroupSize']);
  const rowGroupSize = options.rowGroupSize ?? 10_000;
  assertInteger('writeParquet', 'rowGroupSize', rowGroupSize, 1, 10_000_000);
  let count = 0;

  async function* chunks(): AsyncGenerator<Uint8Array> {
    const bytes = new ByteWriter();
    let schema = options.schema;
    let writer: ParquetWriter | undefined;
    const begin = (group: readonly object[]): { writer: ParquetWriter; schema: ParquetSchema } => {
      schema ??= inferParquetSchema(group);
      writer ??= new ParquetWriter({ writer: bytes, schema: toSchemaElements(schema), createdBy: 'posttrain' });
      return { writer, schema };
    };
    const takeBytes = (): Uint8Array => {
      const taken = new Uint8Array(bytes.buffer.slice(0, bytes.index));
      bytes.index = 0;
      return taken;
    };
    for await (const group of inGroups(rows, rowGroupSize)) {
      const started = begin(group);
      const values = group.map((row) => toParquetValues(row, started.schema, ++count));
      const columnData = Object.keys(started.schema).map((name, i) => ({ name, data: values.map((row) => row[i]) }));
      await started.writer.write({ columnData, rowGroupSize: group.length });
      yield takeBytes();
    }
    if (schema === undefined) throw new DataOptionError('writeParquet', 'there are no rows; give a "schema".');
    await begin([]).writer.finish();
    yield takeBytes();
  }

  const bytes = await writeFileAtomically(path, chunks());
  return { rows: count, bytes };
}

async function* inGroups(rows: RowSource<object>, size: number): AsyncGenerator<object[]> {
  let group: object[] = [];
  for await (const row of rows) {
    group.push(row);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}
