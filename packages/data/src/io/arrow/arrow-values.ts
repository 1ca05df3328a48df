import type { Data, DataType, Dictionary, Field, Vector } from 'apache-arrow';
import { MAX_DEPTH } from '../../rows.js';
import { date, decimal, narrow, time, timestamp } from '../parquet/leaf-values.js';

type Arrow = typeof import('apache-arrow');

/** The value of a row of a column. */
export type Accessor = (row: number) => unknown;

/** The values of a column as `readParquet` gives them: nothing is rounded. @throws Error for a type that no plain value holds */
export function accessor(arrow: Arrow, vector: Vector, depth = 0): Accessor {
  if (depth > MAX_DEPTH) throw new Error(`a column is nested more than ${MAX_DEPTH} deep`);
  const { type } = vector;
  const { DataType } = arrow;
  const nullable = (read: Accessor): Accessor => {
    return vector.nullCount === 0 ? read : (row) => (vector.isValid(row) ? read(row) : null);
  };
  const mapped = <T>(convert: (value: T) => unknown): Accessor => nullable((row) => convert(vector.get(row) as T));
  /** The same numbers, as integers of 64 bits. */
  const integers = () => reinterpreted(arrow, vector, new arrow.Int64());
  const inner = (column: Vector) => accessor(arrow, column, depth + 1);
  if (DataType.isNull(type)) return () => null;
  if (DataType.isInt(type) && type.bitWidth === 64) return mapped(narrow);
  if (DataType.isInt(type) || DataType.isFloat(type) || DataType.isBool(type))
    return nullable((row) => vector.get(row));
  if (DataType.isUtf8(type) || DataType.isLargeUtf8(type) || DataType.isUtf8View(type)) {
    return nullable((row) => vector.get(row));
  }
  if (
    DataType.isBinary(type) ||
    DataType.isLargeBinary(type) ||
    DataType.isBinaryView(type) ||
    DataType.isFixedSizeBinary(type)
  ) {
    return mapped((bytes: Uint8Array) => Uint8Array.from(bytes));
  }
  if (DataType.isDate(type)) return mapped((milliseconds: number | Date) => date(BigInt(Number(milliseconds))));
  if (DataType.isTimestamp(type)) {
    const ticks = integers();
    const perSecond = 1000 ** type.unit;
    const convert = timestamp({ perSecond: Math.max(perSecond, 1000), utc: type.timezone != null });
    return nullable((row) => convert(perSecond === 1 ? ticks.get(row)! * 1000n : ticks.get(row)!));
  }
  if (DataType.isTime(type)) return mapped(time({ perSecond: 1000 ** type.unit }));
  if (DataType.isDecimal(type)) {
    const convert = decimal(type);
    // Words of 32 bits as they are, so many to a value.
    const words = reinterpreted(arrow, vector, new arrow.FixedSizeBinary(type.bitWidth / 32));
    return nullable((row) => convert(signed(words.get(row) as unknown as Uint32Array)));
  }
  if (DataType.isDictionary(type)) return nullable(dictionary(arrow, vector as Vector<Dictionary>, inner));
  if (DataType.isMap(type)) {
    // A map is laid out as a list of its entries.
    const entries = inner(reinterpreted(arrow, vector, new arrow.List(type.children[0]! as Field)));
    return (row) => mapOf(entries(row) as readonly Entry[] | null);
  }
  if (DataType.isList(type) || DataType.isLargeList(type) || DataType.isFixedSizeList(type)) {
    return mapped((list: Vector) => listed(list, inner));
  }
  if (DataType.isStruct(type)) {
    const fields = (type.children as readonly Field[]).map(
      (field, i) => [field.name, inner(vector.getChildAt(i)!)] as const,
    );
    return nullable((row) => Object.fromEntries(fields.map(([name, read]) => [name, read(row)])));
  }
  throw new Error(`values of type ${String(type)} are not supported; read the other columns`);
}

const listed = (list: Vector, inner: (column: Vector) => Accessor): unknown[] => {
  const read = inner(list);
  return Array.from({ length: list.length }, (_, i) => read(i));
};

function reinterpreted<T extends DataType>(arrow: Arrow, vector: Vector, type: T): Vector<T> {
  return new arrow.Vector(vector.data.map((data) => (data as Data).clone(type as never) as unknown as Data<T>));
}

function dictionary(arrow: Arrow, vector: Vector<Dictionary>, inner: (column: Vector) => Accessor): Accessor {
  const parts = vector.data.map((data) => ({
    indices: new arrow.Vector([data.clone(data.type.indices as never) as unknown as Data]),
    read: inner(data.dictionary!),
    length: data.length,
  }));
  return (row) => {
    let at = row;
    for (const { indices, read, length } of parts) {
      if (at < length) return read(Number(indices.get(at)));
      at -= length;
    }
    return null;
  };
}

/** Of a map, in whatever names its fields have. */
type Entry = Readonly<Record<string, unknown>>;

/** An object where the keys are different texts, else a list of `{ key, value }`. */
function mapOf(entries: readonly Entry[] | null): unknown {
  if (entries === null) return null;
  const pairs = entries.map((entry) => Object.values(entry) as [unknown, unknown]);
  const keys = pairs.map(([key]) => key);
  if (keys.every((key) => typeof key === 'string') && new Set(keys).size === keys.length) {
    return Object.fromEntries(pairs as [string, unknown][]);
  }
  return pairs.map(([key, value]) => ({ key, value }));
}

/** Two's complement in words of 32 bits, the lowest first. */
function signed(words: Uint32Array): bigint {
  let value = 0n;
  for (const word of Array.from(words).reverse()) value = (value << 32n) | BigInt(word);
  return BigInt.asIntN(32 * words.length, value);
}
