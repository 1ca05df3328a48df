/** One row of a dataset: column name to value. */
export type Row = Readonly<Record<string, unknown>>;

/** Anything rows can be read from, once. */
export type RowSource<R extends object = Row> = Iterable<R> | AsyncIterable<R>;

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The row's own value of a column: `undefined` for names such as "constructor", which every object inherits. */
export function ownValue(row: object, key: string): unknown {
  return Object.hasOwn(row, key) ? (row as Row)[key] : undefined;
}

/** What a value is, for messages: `null`, `array`, `Date`, `string` ... */
export function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'object' && !isPlainObject(value)) return value.constructor.name;
  return typeof value;
}

/** Every object and array on the way to a leaf of `value`, leaves included, with its path (`messages[0].content`). */
export function* walk(value: unknown, path = ''): Generator<{ readonly path: string; readonly value: unknown }> {
  yield { path, value };
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) yield* walk(item, `${path}[${i}]`);
  } else if (isPlainObject(value)) {
    for (const [key, item] of Object.entries(value)) yield* walk(item, path === '' ? key : `${path}.${key}`);
  }
}
