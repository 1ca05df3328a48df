import { isPlainObject } from '@posttrain/interfaces';
import { DataOptionError, DataStepError, RowError } from './errors.js';

/** One row of a dataset: column name to value. */
export type Row = Readonly<Record<string, unknown>>;

/** Anything rows can be read from, once. */
export type RowSource<R extends object = Row> = Iterable<R> | AsyncIterable<R>;

export { isPlainObject };

/** The row's own value of a column: `undefined` for names such as "constructor", which every object inherits. */
export function ownValue(row: object, key: string): unknown {
  return Object.hasOwn(row, key) ? (row as Row)[key] : undefined;
}

/** What a value is, for messages: `null`, `array`, `Date`, `string` ... */
export function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'object' && !isPlainObject(value)) {
    return (Object.getPrototypeOf(value) as object).constructor?.name ?? 'object';
  }
  return typeof value;
}

/** A Date as ISO 8601; one that is no time is a `RowError`. */
export function isoText(date: Date, rowNumber: number, field: string): string {
  if (Number.isNaN(date.getTime())) throw new RowError(rowNumber, field, 'is a Date without a time (Invalid Date).');
  return date.toISOString();
}

/** Why UTF-8 cannot hold the text as it is; `undefined` when it can. */
export function notUtf8(text: string): string | undefined {
  return /\p{Surrogate}/u.test(text)
    ? 'has half of a surrogate pair, which UTF-8 cannot hold; repair the text.'
    : undefined;
}

/** How deep the values of a row may lie. Python's JSON stops at the same depth. */
export const MAX_DEPTH = 1000;

/** Every object and array on the way to a leaf of `value`, leaves included, with its path (`messages[0].content`). */
export function* walk(
  value: unknown,
  rowNumber: number | undefined,
  path = '',
  depth = 0,
): Generator<{ readonly path: string; readonly value: unknown }> {
  yield { path, value };
  if (depth > MAX_DEPTH) throw tooDeep(rowNumber, path);
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) yield* walk(item, rowNumber, `${path}[${i}]`, depth + 1);
  } else if (isPlainObject(value)) {
    for (const [key, item] of Object.entries(value)) {
      yield* walk(item, rowNumber, path === '' ? key : `${path}.${key}`, depth + 1);
    }
  }
}

function tooDeep(rowNumber: number | undefined, path: string): RowError {
  const shown = path.length > 60 ? `${path.slice(0, 60)}...` : path;
  return new RowError(rowNumber, shown, `is nested more than ${MAX_DEPTH} deep, or contains itself.`);
}

/**
 * The rows of an iterable or an async iterable. Anything else, and a row that is no object, is an error that says so; `where`
 * names the function that was given it.
 */
export async function* eachRow<R extends object>(where: string, rows: RowSource<R>): AsyncGenerator<R> {
  assertRowSource(where, rows);
  let rowNumber = 0;
  for await (const row of rows) {
    assertRow(where, row, ++rowNumber);
    yield row;
  }
}

/** An object whose keys are columns: plain, or of a class of the user's. */
function isRow(row: unknown): boolean {
  if (typeof row !== 'object' || row === null || Array.isArray(row) || ArrayBuffer.isView(row)) return false;
  return ![Date, Map, Set, Promise, RegExp, Error].some((kind) => row instanceof kind);
}

export function assertRow(where: string, row: unknown, rowNumber: number): asserts row is object {
  if (isRow(row)) return;
  throw new DataStepError(where, rowNumber, `a row must be an object of columns, got ${kindOf(row)}.`);
}

/** For functions of one row: what is no object of columns is a `RowError`. */
export function requireRow(row: unknown, rowNumber: number | undefined): asserts row is Row {
  if (isRow(row)) return;
  throw new RowError(rowNumber, 'row', `must be an object of columns, got ${kindOf(row)}.`);
}

export function assertRowSource(where: string, rows: unknown): void {
  if (typeof rows === 'object' && rows !== null && (Symbol.iterator in rows || Symbol.asyncIterator in rows)) return;
  const hint = rows instanceof Promise ? ' It is a promise: await it first.' : '';
  throw new DataOptionError(
    where,
    `rows must be an iterable or an async iterable of objects, got ${kindOf(rows)}.${hint}`,
  );
}
