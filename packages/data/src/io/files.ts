import { assertPath, DataFileError } from '../errors.js';
import type { Row, RowSource } from '../rows.js';
import type { WriteSummary } from './atomic-file.js';
import { readCsv, writeCsv } from './csv.js';
import { readJson } from './json.js';
import { readJsonl, writeJsonl } from './jsonl.js';
import { readParquet } from './parquet/read-parquet.js';
import { writeParquet } from './parquet/write-parquet.js';

const READERS: Readonly<Record<string, (path: string) => AsyncGenerator<Row>>> = {
  jsonl: (path) => readJsonl(path),
  ndjson: (path) => readJsonl(path),
  'jsonl.gz': (path) => readJsonl(path),
  json: (path) => readJson(path),
  'json.gz': (path) => readJson(path),
  csv: (path) => readCsv(path),
  'csv.gz': (path) => readCsv(path),
  tsv: (path) => readCsv(path, { delimiter: '\t' }),
  parquet: (path) => readParquet(path),
};

const WRITERS: Readonly<Record<string, (path: string, rows: RowSource<object>) => Promise<WriteSummary>>> = {
  jsonl: writeJsonl,
  ndjson: writeJsonl,
  csv: (path, rows) => writeCsv(path, rows),
  tsv: (path, rows) => writeCsv(path, rows, { delimiter: '\t' }),
  parquet: (path, rows) => writeParquet(path, rows),
};

/** Rows of a file, by its extension: jsonl, ndjson, json, csv (these also with .gz), tsv, parquet. */
export function readRows(path: string): AsyncGenerator<Row> {
  return byExtension(path, READERS, 'read')(path);
}

/** Writes rows by the file's extension, whole or not at all: jsonl, ndjson, csv, tsv, parquet. */
export function writeRows(path: string, rows: RowSource<object>): Promise<WriteSummary> {
  return byExtension(path, WRITERS, 'write')(path, rows);
}

/** Whether `readRows` reads files of that name. */
export const isReadable = (path: string): boolean => Object.hasOwn(READERS, extensionOf(path));

const extensionOf = (path: string): string => /\.([a-z]+(?:\.gz)?)$/i.exec(path)?.[1]?.toLowerCase() ?? '';

function byExtension<T>(path: string, table: Readonly<Record<string, T>>, verb: string): T {
  assertPath(path);
  const extension = extensionOf(path);
  if (Object.hasOwn(table, extension)) return table[extension]!;
  throw new DataFileError(
    { path },
    `do not know how to ${verb} ${extension === '' ? 'a file without extension' : `".${extension}"`}. Known: ${Object.keys(table).join(', ')}.`,
  );
}
