import { custom, type Given, listOf, options, text } from '@posttrain/interfaces';
import { DataFileError, DataOptionError, RowError } from '../errors.js';
import { eachRow, isoText, kindOf, notUtf8, ownValue, type RowSource } from '../rows.js';
import { type WriteSummary, writeFileAtomically } from './atomic-file.js';
import { maxRowBytesShape } from './byte-source.js';
import { readCsvRecords } from './csv-records.js';

const delimiterShape = {
  /** Field separator, one character. Default `','`. */
  delimiter: custom<string>()(
    'one character, and no quote or line end',
    (value) => typeof value === 'string' && [...value].length === 1 && !'"\r\n'.includes(value),
    { default: ',' },
  ),
};
const readCsvOptions = options('readCsv', { ...delimiterShape, ...maxRowBytesShape });
/** Options of `readCsv`. */
export type ReadCsvOptions = Given<typeof readCsvOptions>;

/**
 * Rows of a CSV file (RFC 4180, also gzipped as `.gz`), streaming. The first record names the columns; every value is
 * a string, exactly as written, since CSV has no types. Records end at LF, CRLF or CR, in any mixture, and blank lines are
 * skipped. A record with too few or too many fields, an unclosed or misplaced quote, a repeated or empty column name, a record of
 * more than `maxRowBytes` characters: `DataFileError` with the line.
 */
export async function* readCsv(
  path: string,
  given: ReadCsvOptions = {},
): AsyncGenerator<Readonly<Record<string, string>>> {
  const { delimiter, maxRowBytes } = readCsvOptions.read(given);
  let columns: readonly string[] | undefined;
  for await (const { fields, line } of readCsvRecords(path, delimiter, maxRowBytes)) {
    if (columns === undefined) {
      columns = checkColumns(path, line, fields);
      continue;
    }
    if (fields.length !== columns.length) {
      throw new DataFileError({ path, line }, `the record has ${fields.length} fields, the header ${columns.length}.`);
    }
    yield Object.fromEntries(columns.map((column, i) => [column, fields[i]!]));
  }
}

const writeCsvOptions = options('writeCsv', {
  ...delimiterShape,
  /** Columns and their order. Default: the keys of the first row. */
  columns: listOf(text({}), { optional: true }),
});
/** Options of `writeCsv`. */
export type WriteCsvOptions = Given<typeof writeCsvOptions>;

/**
 * Writes rows as CSV (RFC 4180 quoting, line feeds), whole or not at all. `null` and missing values become empty
 * fields. A row with another column, or a value CSV cannot hold (list, object), is a `RowError`.
 */
export async function writeCsv(
  path: string,
  rows: RowSource<object>,
  given: WriteCsvOptions = {},
): Promise<WriteSummary> {
  const settings = writeCsvOptions.read(given);
  const { delimiter } = settings;
  let count = 0;
  async function* lines(): AsyncGenerator<string> {
    let { columns } = settings;
    let known = new Set(columns);
    if (columns !== undefined) yield formatHeader(columns, delimiter);
    for await (const row of eachRow('writeCsv', rows)) {
      count++;
      if (columns === undefined) {
        columns = Object.keys(row);
        known = new Set(columns);
        yield formatHeader(columns, delimiter);
      }
      for (const key of Object.keys(row)) {
        if (!known.has(key)) throw new RowError(count, key, `is not one of the columns ${columns.join(', ')}.`);
      }
      yield formatRecord(
        columns.map((column) => formatValue(ownValue(row, column), count, column)),
        delimiter,
      );
    }
    if (columns === undefined)
      throw new DataOptionError('writeCsv', 'there are no rows; give "columns" for the header.');
  }
  const bytes = await writeFileAtomically(path, lines());
  return { rows: count, bytes };
}

function formatValue(value: unknown, rowNumber: number, field: string): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'string') {
    const problem = notUtf8(value);
    if (problem === undefined) return value;
    throw new RowError(rowNumber, field, problem);
  }
  if (Object.is(value, -0)) return '-0';
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (value instanceof Date) return isoText(value, rowNumber, field);
  throw new RowError(rowNumber, field, `CSV cannot hold a value of kind ${kindOf(value)}; write JSONL or Parquet.`);
}

function formatRecord(fields: readonly string[], delimiter: string): string {
  const line = fields
    .map((field) =>
      /["\r\n]/.test(field) || field.includes(delimiter) || field.startsWith('\uFEFF')
        ? `"${field.replaceAll('"', '""')}"`
        : field,
    )
    .join(delimiter);
  // A record of one empty field would otherwise be a blank line, which readers skip.
  return line === '' ? '""\n' : `${line}\n`;
}

function checkColumns(path: string, line: number, columns: readonly string[]): readonly string[] {
  const seen = new Set<string>();
  for (const [i, column] of columns.entries()) {
    if (column === '') throw new DataFileError({ path, line }, `column ${i + 1} has no name.`);
    if (seen.has(column)) throw new DataFileError({ path, line }, `column "${column}" occurs twice.`);
    seen.add(column);
  }
  return columns;
}

/** The header that `readCsv` would accept. */
function formatHeader(columns: readonly string[], delimiter: string): string {
  const seen = new Set<string>();
  const twice = columns.find((column) => seen.size === seen.add(column).size);
  if (twice !== undefined) throw new DataOptionError('writeCsv', `"columns" has "${twice}" twice.`);
  if (columns.length === 0 || columns.includes('')) {
    throw new DataOptionError(
      'writeCsv',
      'a column needs a name: an empty one, or a row without columns, cannot be read back.',
    );
  }
  for (const column of columns) {
    const problem = notUtf8(column);
    if (problem !== undefined) throw new DataOptionError('writeCsv', `the column ${JSON.stringify(column)} ${problem}`);
  }
  return formatRecord(columns, delimiter);
}
