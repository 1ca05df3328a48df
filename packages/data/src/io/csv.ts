import { pipeline, Readable } from 'node:stream';
import { assertKnownOptions, isPosttrainError } from '@posttrain/interfaces';
import { CsvError, parse } from 'csv-parse';
import { DataFileError, DataOptionError, messageOf, RowError } from '../errors.js';
import { kindOf, type Row, type RowSource } from '../rows.js';
import { type WriteSummary, writeFileAtomically } from './atomic-file.js';
import { readText } from './byte-source.js';

export interface ReadCsvOptions {
  /** Field separator, one character. Default `','`. */
  readonly delimiter?: string;
}

/**
 * Rows of a CSV file (RFC 4180, also gzipped as `.gz`), streaming. The first record names the columns; every value is
 * a string, exactly as written, since CSV has no types. Blank lines are skipped. A record with too few or too many
 * fields, an unclosed quote, a repeated or empty column name: `DataFileError` with the line.
 */
export async function* readCsv(
  path: string,
  options: ReadCsvOptions = {},
): AsyncGenerator<Readonly<Record<string, string>>> {
  assertKnownOptions('readCsv', options, ['delimiter']);
  const parser = parse({
    delimiter: checkDelimiter('readCsv', options.delimiter),
    info: true,
    relax_column_count: true,
    skip_empty_lines: true,
  });
  const text = Readable.from(readText(path));
  pipeline(text, parser, () => {});
  let columns: readonly string[] | undefined;
  try {
    for await (const { record, info } of parser as AsyncIterable<{ record: string[]; info: { lines: number } }>) {
      if (columns === undefined) {
        columns = checkColumns(path, record);
        continue;
      }
      if (record.length !== columns.length) {
        const problem = `the record has ${record.length} fields, the header ${columns.length}.`;
        throw new DataFileError({ path, line: info.lines }, problem);
      }
      yield Object.fromEntries(columns.map((column, i) => [column, record[i]!]));
    }
  } catch (error) {
    if (isPosttrainError(error)) throw error;
    const line = error instanceof CsvError && typeof error.lines === 'number' ? error.lines : undefined;
    throw new DataFileError(line === undefined ? { path } : { path, line }, messageOf(error), { cause: error });
  } finally {
    text.destroy();
    parser.destroy();
  }
}

export interface WriteCsvOptions extends ReadCsvOptions {
  /** Columns and their order. Default: the keys of the first row. */
  readonly columns?: readonly string[];
}

/**
 * Writes rows as CSV (RFC 4180 quoting, line feeds), whole or not at all. `null` and missing values become empty
 * fields. A row with another column, or a value CSV cannot hold (list, object), is a `RowError`.
 */
export async function writeCsv(
  path: string,
  rows: RowSource<object>,
  options: WriteCsvOptions = {},
): Promise<WriteSummary> {
  assertKnownOptions('writeCsv', options, ['delimiter', 'columns']);
  const delimiter = checkDelimiter('writeCsv', options.delimiter);
  let count = 0;
  async function* lines(): AsyncGenerator<string> {
    let { columns } = options;
    if (columns !== undefined) yield formatRecord(columns, delimiter);
    for await (const row of rows as RowSource<Row>) {
      count++;
      if (columns === undefined) {
        columns = Object.keys(row);
        yield formatRecord(columns, delimiter);
      }
      for (const key of Object.keys(row)) {
        if (!columns.includes(key)) throw new RowError(count, key, `is not one of the columns ${columns.join(', ')}.`);
      }
      yield formatRecord(
        columns.map((column) => formatValue(row[column], count, column)),
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
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (value instanceof Date) return value.toISOString();
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

function checkDelimiter(where: string, delimiter = ','): string {
  if ([...delimiter].length === 1 && !'"\r\n'.includes(delimiter)) return delimiter;
  throw new DataOptionError(where, `"delimiter" must be one character and no quote, got ${JSON.stringify(delimiter)}.`);
}

function checkColumns(path: string, columns: readonly string[]): readonly string[] {
  for (const [i, column] of columns.entries()) {
    if (column === '') throw new DataFileError({ path, line: 1 }, `column ${i + 1} has no name.`);
    if (columns.indexOf(column) !== i) throw new DataFileError({ path, line: 1 }, `column "${column}" occurs twice.`);
  }
  return columns;
}
