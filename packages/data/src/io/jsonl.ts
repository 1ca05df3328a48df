import { custom, type Given, options } from '@posttrain/interfaces';
import { DataFileError, messageOf, RowError } from '../errors.js';
import { eachRow, isoText, kindOf, type Row, type RowSource, walk } from '../rows.js';
import { type WriteSummary, writeFileAtomically } from './atomic-file.js';
import { type LinePlace, maxRowBytesShape, readLines, tooLong } from './byte-source.js';
import { parseRow, stringifyExactly } from './parse-row.js';

/** The options of readers of JSON. */
export const readJsonlShape = {
  /**
   * Called with the error of each malformed line, which is then skipped; count them here.
   * Default: the first malformed line ends the reading with its error.
   */
  onMalformed: custom<(error: DataFileError) => void>()('a function', (value) => typeof value === 'function', {
    optional: true,
  }),
  ...maxRowBytesShape,
};
const readJsonlOptions = options('readJsonl', readJsonlShape);
/** Options of `readJsonl`. */
export type ReadJsonlOptions = Given<typeof readJsonlOptions>;

/**
 * Rows of a JSON Lines file (`.jsonl`, `.ndjson`, also gzipped as `.gz`), streaming: memory holds one line.
 *
 * UTF-8 with or without byte order mark, lines ended by LF, CRLF or CR, blank lines skipped, last line with or without an
 * end. Integers are numbers where that is exact, and bigints where not.
 * A line that is no JSON object, is nested more than 1000 deep or longer than `maxRowBytes` is a `DataFileError` with the
 * line's number.
 */
export async function* readJsonl(path: string, given: ReadJsonlOptions = {}): AsyncGenerator<Row> {
  const { maxRowBytes, onMalformed } = readJsonlOptions.read(given);
  for await (const { bytes, number } of readLines(path, maxRowBytes)) {
    const row = parseOrReport({ path, line: number }, bytes, maxRowBytes, onMalformed);
    if (row !== undefined) yield row;
  }
}

/** A row of a JSON Lines file, and where the next line begins. */
export interface PlacedRow {
  readonly row: Row;
  readonly next: LinePlace;
}

/** The rows from a place in a file on, each with the place behind it: what is read again begins there. */
export async function* readJsonlFrom(path: string, from: LinePlace, maxRowBytes: number): AsyncGenerator<PlacedRow> {
  for await (const { bytes, number, end } of readLines(path, maxRowBytes, from)) {
    const row = parseOrReport({ path, line: number }, bytes, maxRowBytes, undefined);
    if (row !== undefined) yield { row, next: { byte: end, line: number + 1 } };
  }
}

/** The row that the bytes are; `undefined` when there is none, or a malformed one that `onMalformed` was told of. */
export function parseOrReport(
  location: { readonly path: string; readonly line: number },
  bytes: Uint8Array | undefined,
  maxRowBytes: number,
  onMalformed: ReadJsonlOptions['onMalformed'],
): Row | undefined {
  try {
    if (bytes === undefined) throw new Error(tooLong(maxRowBytes));
    return parseRow(bytes);
  } catch (error) {
    const problem = `malformed line: ${messageOf(error).replace(/\.$/, '')}. Mend the line, or pass onMalformed to skip such lines.`;
    const malformed = new DataFileError(location, problem, { cause: error });
    if (onMalformed === undefined) throw malformed;
    onMalformed(malformed);
    return undefined;
  }
}

/** Writes rows as JSON Lines, whole or not at all. Dates become ISO strings, bigints
 * integers; keys that are `undefined` are left out. */
export async function writeJsonl(path: string, rows: RowSource<object>): Promise<WriteSummary> {
  let count = 0;
  async function* lines(): AsyncGenerator<string> {
    for await (const row of eachRow('writeJsonl', rows)) yield `${stringifyRow(row, ++count)}\n`;
  }
  const bytes = await writeFileAtomically(path, lines());
  return { rows: count, bytes };
}

/** The row as one line of JSON. What JSON would change silently (NaN, bytes ...) is a `RowError`. */
function stringifyRow(row: object, rowNumber: number): string {
  let exact = false;
  for (const { path, value } of walk(row, rowNumber)) {
    if (typeof value === 'bigint' || Object.is(value, -0)) {
      exact = true;
      continue;
    }
    if (typeof value === 'number' && !Number.isFinite(value)) {
      throw new RowError(rowNumber, path, `JSON has no ${value}; use null or drop the row.`);
    }
    if (value instanceof Date) isoText(value, rowNumber, path);
    const kind = kindOf(value);
    if (!['string', 'number', 'boolean', 'null', 'undefined', 'object', 'array', 'Date'].includes(kind)) {
      throw new RowError(rowNumber, path, `JSON cannot hold a ${kind}; convert it first.`);
    }
  }
  return exact ? stringifyExactly(row) : JSON.stringify(row);
}
