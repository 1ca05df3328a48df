import { assertKnownOptions } from '@posttrain/interfaces';
import { DataFileError, messageOf, RowError } from '../errors.js';
import { isPlainObject, kindOf, type Row, type RowSource, walk } from '../rows.js';
import { type WriteSummary, writeFileAtomically } from './atomic-file.js';
import { readLines } from './byte-source.js';

export interface ReadJsonlOptions {
  /**
   * Called with the error of each malformed line, which is then skipped; count them here.
   * Default: the first malformed line ends the reading with its error.
   */
  readonly onMalformed?: (error: DataFileError) => void;
}

/**
 * Rows of a JSON Lines file (`.jsonl`, `.ndjson`, also gzipped as `.gz`), streaming: memory holds one line.
 *
 * UTF-8 with or without byte order mark, LF or CRLF, blank lines skipped, last line with or without line feed.
 * A line that is not a JSON object is a `DataFileError` with the line's number.
 */
export async function* readJsonl(path: string, options: ReadJsonlOptions = {}): AsyncGenerator<Row> {
  assertKnownOptions('readJsonl', options, ['onMalformed']);
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  for await (const { bytes, number } of readLines(path)) {
    let row: unknown;
    try {
      const text = decoder.decode(bytes);
      if (text.trim() === '') continue;
      row = JSON.parse(text);
      if (!isPlainObject(row)) throw new Error(`a row must be a JSON object, got ${kindOf(row)}`);
    } catch (error) {
      const problem = `malformed line: ${messageOf(error)}. Mend the line, or pass onMalformed to skip such lines.`;
      const malformed = new DataFileError({ path, line: number }, problem, { cause: error });
      if (options.onMalformed === undefined) throw malformed;
      options.onMalformed(malformed);
      continue;
    }
    yield row;
  }
}

/** Writes rows as JSON Lines, whole or not at all. Dates become ISO strings; keys that are `undefined` are left out. */
export async function writeJsonl(path: string, rows: RowSource<object>): Promise<WriteSummary> {
  let count = 0;
  async function* lines(): AsyncGenerator<string> {
    for await (const row of rows) yield `${stringifyRow(row, ++count)}\n`;
  }
  const bytes = await writeFileAtomically(path, lines());
  return { rows: count, bytes };
}

/** The row as one line of JSON. What JSON would change silently (NaN, bytes, bigint ...) is a `RowError`. */
function stringifyRow(row: object, rowNumber: number): string {
  for (const { path, value } of walk(row)) {
    if (typeof value === 'number' && !Number.isFinite(value)) {
      throw new RowError(rowNumber, path, `JSON has no ${value}; use null or drop the row.`);
    }
    const kind = kindOf(value);
    if (!['string', 'number', 'boolean', 'null', 'undefined', 'object', 'array', 'Date'].includes(kind)) {
      throw new RowError(rowNumber, path, `JSON cannot hold a ${kind}; convert it first.`);
    }
  }
  return JSON.stringify(row);
}
