import { assertPath, DataFileError } from '../errors.js';
import type { Row, RowSource } from '../rows.js';
import { readArrow } from './arrow/read-arrow.js';
import { writeArrow } from './arrow/write-arrow.js';
import type { WriteSummary } from './atomic-file.js';
import { readCsv, writeCsv } from './csv.js';
import { readDocument } from './documents/read-document.js';
import { readJson } from './json.js';
import { readJsonl, writeJsonl } from './jsonl.js';
import { readParquet } from './parquet/read-parquet.js';
import { writeParquet } from './parquet/write-parquet.js';
import { readTextFile, writeTextFile } from './text-file.js';
import { readWebDataset, writeWebDataset } from './webdataset.js';

type Reader = (path: string) => AsyncGenerator<Row>;
type Writer = (path: string, rows: RowSource<object>) => Promise<WriteSummary>;

/** What can be compressed as a whole; the endings `.gz` and `.zst` may follow. */
const STREAMS: Readonly<Record<string, { readonly read: Reader; readonly write?: Writer }>> = {
  jsonl: { read: (path) => readJsonl(path), write: writeJsonl },
  ndjson: { read: (path) => readJsonl(path), write: writeJsonl },
  json: { read: (path) => readJson(path) },
  csv: { read: (path) => readCsv(path), write: (path, rows) => writeCsv(path, rows) },
  tsv: {
    read: (path) => readCsv(path, { delimiter: '\t' }),
    write: (path, rows) => writeCsv(path, rows, { delimiter: '\t' }),
  },
  txt: { read: (path) => readTextFile(path), write: writeTextFile },
  tar: { read: (path) => readWebDataset(path), write: writeWebDataset },
};

const WITH_COMPRESSION = Object.entries(STREAMS).flatMap(([extension, format]) =>
  [extension, `${extension}.gz`, `${extension}.zst`].map((name) => [name, format] as const),
);

const READERS: Readonly<Record<string, Reader>> = {
  ...Object.fromEntries(WITH_COMPRESSION.map(([name, { read }]) => [name, read])),
  parquet: (path) => readParquet(path),
  arrow: (path) => readArrow(path),
  feather: (path) => readArrow(path),
};

/** Files of one row, which a folder of a data set may have beside its rows. */
const DOCUMENTS: Readonly<Record<string, Reader>> = { html: readDocument, htm: readDocument, pdf: readDocument };

const WRITERS: Readonly<Record<string, Writer>> = {
  ...Object.fromEntries(WITH_COMPRESSION.flatMap(([name, { write }]) => (write === undefined ? [] : [[name, write]]))),
  parquet: (path, rows) => writeParquet(path, rows),
  arrow: (path, rows) => writeArrow(path, rows),
  feather: (path, rows) => writeArrow(path, rows),
};

/**
 * Rows of a file, by its extension: jsonl, ndjson, json, csv, tsv, txt (a row a line) and tar (WebDataset), each also with .gz or .zst; parquet; arrow
 * and feather; html and pdf (one row, with its `text`).
 */
export function readRows(path: string): AsyncGenerator<Row> {
  return byExtension(path, { ...READERS, ...DOCUMENTS }, 'read')(path);
}

/** Writes rows by the file's extension, whole or not at all: jsonl, ndjson, csv, tsv, txt and tar, each also with .gz or .zst; parquet; arrow and feather. */
export function writeRows(path: string, rows: RowSource<object>): Promise<WriteSummary> {
  return byExtension(path, WRITERS, 'write')(path, rows);
}

/** Whether `readRows` reads files of that name. */
export const isReadable = (path: string): boolean => isRowFile(path) || Object.hasOwn(DOCUMENTS, extensionOf(path));

/** Whether files of that name hold rows, where a data set is a folder; of texts, which may be notes, see `isTextFile`. */
export const isRowFile = (path: string): boolean => Object.hasOwn(READERS, extensionOf(path));

/** Whether files of that name hold lines of text. */
export const isTextFile = (path: string): boolean => extensionOf(path).startsWith('txt');

const extensionOf = (path: string): string => /\.([a-z]+(?:\.(?:gz|zst))?)$/i.exec(path)?.[1]?.toLowerCase() ?? '';

function byExtension<T>(path: string, table: Readonly<Record<string, T>>, verb: string): T {
  assertPath(path);
  const extension = extensionOf(path);
  if (Object.hasOwn(table, extension)) return table[extension]!;
  throw new DataFileError(
    { path },
    `do not know how to ${verb} ${extension === '' ? 'a file without extension' : `".${extension}"`}. Known: ${Object.keys(table).join(', ')}.`,
  );
}
