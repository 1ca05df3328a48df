import type { ParquetWriter } from 'hyparquet-writer';
import { DataOptionError, RowError } from '../../errors.js';
import { assertRow, isPlainObject, kindOf, notUtf8, ownValue, type Row } from '../../rows.js';

/**
 * The type of a Parquet column. All columns, list elements and struct fields may be null.
 * `int64` takes safe integers and bigints; `timestamp` takes Dates (milliseconds, UTC); `binary` takes Uint8Arrays.
 */
export type ParquetColumnType =
  | 'string'
  | 'int64'
  | 'double'
  | 'boolean'
  | 'timestamp'
  | 'binary'
  | { readonly list: ParquetColumnType }
  | { readonly struct: ParquetSchema };

/** Column name (or struct field name) to type, in order. */
export type ParquetSchema = { readonly [name: string]: ParquetColumnType };

type SchemaElement = ParquetWriter['schema'][number];

/** Readers stop at some depth; so does this writer, and says so. */
const MAX_DEPTH = 64;

/** While inferring, `null` is the type of a value that was only ever null. */
type Inferred = Exclude<ParquetColumnType, object> | null | { list: Inferred } | { struct: Map<string, Inferred> };

/** The narrowest schema that holds all rows. Columns that are null in every row become `string`. */
export function inferParquetSchema(rows: Iterable<object>): ParquetSchema {
  if (typeof rows !== 'object' || rows === null || !(Symbol.iterator in rows)) {
    throw new DataOptionError(
      'inferParquetSchema',
      'rows must be an array or another iterable; collect async ones first.',
    );
  }
  const columns = new Map<string, Inferred>();
  let rowNumber = 0;
  for (const row of rows) {
    assertRow('inferParquetSchema', row, ++rowNumber);
    for (const [name, value] of Object.entries(row)) {
      columns.set(name, unify(columns.get(name) ?? null, inferValue(value, rowNumber, name), rowNumber, name));
    }
  }
  return settleFields(columns);
}

function inferValue(value: unknown, rowNumber: number, field: string, depth = 0): Inferred {
  if (depth > MAX_DEPTH) {
    throw new RowError(rowNumber, field, `is nested more than ${MAX_DEPTH} deep, or contains itself; write JSONL.`);
  }
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') return 'string';
  if (typeof value === 'boolean') return 'boolean';
  if (typeof value === 'bigint') return 'int64';
  if (typeof value === 'number') return Number.isSafeInteger(value) ? 'int64' : 'double';
  if (value instanceof Date) return 'timestamp';
  if (value instanceof Uint8Array) return 'binary';
  if (Array.isArray(value)) {
    let list: Inferred = null;
    for (const item of value)
      list = unify(list, inferValue(item, rowNumber, `${field}[]`, depth + 1), rowNumber, `${field}[]`);
    return { list };
  }
  if (isPlainObject(value)) {
    const entries = Object.entries(value);
    if (entries.length === 0) throw new RowError(rowNumber, field, 'Parquet cannot hold an object without keys.');
    return {
      struct: new Map(entries.map(([key, v]) => [key, inferValue(v, rowNumber, `${field}.${key}`, depth + 1)])),
    };
  }
  throw new RowError(rowNumber, field, `Parquet cannot hold a value of kind ${kindOf(value)}.`);
}

function unify(a: Inferred, b: Inferred, rowNumber: number, field: string): Inferred {
  if (a === null || a === b) return b;
  if (b === null) return a;
  if (isNumeric(a) && isNumeric(b)) return 'double';
  if (typeof a === 'object' && typeof b === 'object') {
    if ('list' in a && 'list' in b) return { list: unify(a.list, b.list, rowNumber, `${field}[]`) };
    if ('struct' in a && 'struct' in b) {
      const struct = new Map(a.struct);
      for (const [key, type] of b.struct) {
        struct.set(key, unify(struct.get(key) ?? null, type, rowNumber, `${field}.${key}`));
      }
      return { struct };
    }
  }
  throw new RowError(rowNumber, field, `is of type ${typeName(b)}, but ${typeName(a)} in earlier rows.`);
}

function isNumeric(type: Inferred): boolean {
  return type === 'int64' || type === 'double';
}

function typeName(type: Inferred): string {
  if (type === null) return 'null';
  if (typeof type === 'string') return type;
  return 'list' in type ? 'list' : 'struct';
}

function settle(type: Inferred): ParquetColumnType {
  if (type === null) return 'string';
  if (typeof type === 'string') return type;
  return 'list' in type ? { list: settle(type.list) } : { struct: settleFields(type.struct) };
}

function settleFields(fields: ReadonlyMap<string, Inferred>): ParquetSchema {
  return Object.fromEntries([...fields].map(([name, type]) => [name, settle(type)]));
}

/** The schema as Parquet's flat, depth-first list of elements; lists in the three-level form all readers know. */
export function toSchemaElements(schema: ParquetSchema): SchemaElement[] {
  if (!isPlainObject(schema))
    throw new DataOptionError(
      'writeParquet',
      `"schema" must be an object of columns and types, got ${kindOf(schema)}.`,
    );
  const names = Object.keys(schema);
  if (names.length === 0) throw new DataOptionError('writeParquet', 'the schema has no columns.');
  const root: SchemaElement = { name: 'schema', num_children: names.length };
  return [root, ...names.flatMap((name) => elementsOf(name, schema[name]!))];
}

function elementsOf(name: string, type: ParquetColumnType): SchemaElement[] {
  const problem = notUtf8(name);
  if (problem !== undefined) throw new DataOptionError('writeParquet', `the name ${JSON.stringify(name)} ${problem}`);
  const optional = { name, repetition_type: 'OPTIONAL' } as const;
  if (typeof type === 'object' && type !== null && ('list' in type || isPlainObject(type.struct))) {
    if ('list' in type) {
      const list: SchemaElement = { name: 'list', repetition_type: 'REPEATED', num_children: 1 };
      return [{ ...optional, converted_type: 'LIST', num_children: 1 }, list, ...elementsOf('element', type.list)];
    }
    const fields = Object.entries(type.struct);
    if (fields.length === 0) throw new DataOptionError('writeParquet', `the struct "${name}" has no fields.`);
    return [{ ...optional, num_children: fields.length }, ...fields.flatMap(([key, field]) => elementsOf(key, field))];
  }
  switch (type) {
    case 'string':
      return [{ ...optional, type: 'BYTE_ARRAY', converted_type: 'UTF8' }];
    case 'int64':
      return [{ ...optional, type: 'INT64' }];
    case 'double':
      return [{ ...optional, type: 'DOUBLE' }];
    case 'boolean':
      return [{ ...optional, type: 'BOOLEAN' }];
    case 'timestamp':
      return [{ ...optional, type: 'INT64', converted_type: 'TIMESTAMP_MILLIS' }];
    case 'binary':
      return [{ ...optional, type: 'BYTE_ARRAY' }];
    default:
      throw new DataOptionError('writeParquet', `column "${name}" has the unknown type ${JSON.stringify(type)}.`);
  }
}

/** The row's values in schema order, as the writer wants them (bigint for int64). Anything off-type is a `RowError`. */
export function toParquetValues(row: object, schema: ParquetSchema, rowNumber: number): unknown[] {
  const values = row as Row;
  rejectUnknownKeys(values, schema, rowNumber, '');
  return Object.entries(schema).map(([name, type]) => toParquetValue(ownValue(values, name), type, rowNumber, name));
}

function toParquetValue(value: unknown, type: ParquetColumnType, rowNumber: number, field: string): unknown {
  if (value === null || value === undefined) return null;
  if (typeof type === 'object') {
    if ('list' in type) {
      if (!Array.isArray(value)) throw mismatch(value, 'list', rowNumber, field);
      return value.map((item, i) => toParquetValue(item, type.list, rowNumber, `${field}[${i}]`));
    }
    if (!isPlainObject(value)) throw mismatch(value, 'struct', rowNumber, field);
    rejectUnknownKeys(value, type.struct, rowNumber, `${field}.`);
    const entries = Object.entries(type.struct);
    return Object.fromEntries(
      entries.map(([key, t]) => [key, toParquetValue(ownValue(value, key), t, rowNumber, `${field}.${key}`)]),
    );
  }
  switch (type) {
    case 'string': {
      if (typeof value !== 'string') break;
      const problem = notUtf8(value);
      if (problem === undefined) return value;
      throw new RowError(rowNumber, field, problem);
    }
    case 'int64':
      if (typeof value === 'bigint') {
        if (BigInt.asIntN(64, value) === value) return value;
        throw new RowError(rowNumber, field, `${value} has more than 64 bits; write it as a string.`);
      }
      if (Number.isSafeInteger(value)) return BigInt(value as number);
      break;
    case 'double':
      if (typeof value === 'number') return value;
      break;
    case 'timestamp':
      if (value instanceof Date && !Number.isNaN(value.getTime())) return value;
      break;
    case 'binary':
      if (value instanceof Uint8Array) return value;
      break;
    default:
      if (typeof value === type) return value;
  }
  throw mismatch(value, type, rowNumber, field);
}

function mismatch(value: unknown, expected: string, rowNumber: number, field: string): RowError {
  const shown = typeof value === 'number' ? `the number ${value}` : `a value of kind ${kindOf(value)}`;
  return new RowError(rowNumber, field, `the column is of type ${expected}, but this is ${shown}. Give a "schema".`);
}

function rejectUnknownKeys(value: Row, schema: ParquetSchema, rowNumber: number, prefix: string): void {
  for (const key of Object.keys(value)) {
    if (Object.hasOwn(schema, key)) continue;
    throw new RowError(rowNumber, prefix + key, 'is not in the schema inferred from the first rows. Give a "schema".');
  }
}
