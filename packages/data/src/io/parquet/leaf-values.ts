import { parseExactly } from '../parse-row.js';
import type { PhysicalValues } from './decode-page.js';
import { damaged, ParquetProblem } from './problem.js';
import type { SchemaNode } from './schema-tree.js';

/** Decimals of so many digits are numbers: a double gives back each of them as written. Longer ones are texts. */
const NUMBER_DIGITS = 15;
const MAX_DATE = 8.64e15;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The values of a leaf as JavaScript has them. Nothing is rounded: what no plain value holds exactly becomes its text. */
export function convertValues(values: PhysicalValues, leaf: SchemaNode): readonly unknown[] {
  const convert = converter(leaf);
  if (convert === undefined) return Array.isArray(values) ? values : Array.from(values);
  return Array.from(values, convert as (value: unknown) => unknown);
}

function converter({ meaning, physical }: SchemaNode): ((value: never) => unknown) | undefined {
  switch (meaning.kind) {
    case 'string':
      return string;
    case 'json':
      return json;
    case 'date':
      return (days: number) => date(BigInt(days) * 86_400_000n);
    case 'uuid':
      return uuid;
    case 'float16':
      return float16;
    case 'unsigned':
      return physical === 'INT64'
        ? (value: bigint) => narrow(BigInt.asUintN(64, value))
        : (value: number) => value >>> 0;
    case 'decimal':
      return decimal(meaning);
    case 'time':
      return time(meaning);
    case 'timestamp':
      return timestamp(meaning);
    case 'refused':
      throw new ParquetProblem(`values of type ${meaning.type} are not supported; read the other "columns".`);
    default:
      if (physical === 'INT64') return narrow;
      if (physical === 'INT96') return timestamp({ perSecond: 1e9, utc: true });
      // Bytes lie in the page; a copy lets go of it.
      if (physical === 'BYTE_ARRAY' || physical === 'FIXED_LEN_BYTE_ARRAY') return (bytes: Uint8Array) => bytes.slice();
      return undefined;
  }
}

function string(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw damaged('a text is not UTF-8');
  }
}

function json(bytes: Uint8Array): unknown {
  try {
    return parseExactly(string(bytes));
  } catch {
    throw damaged('a value of type JSON is no JSON');
  }
}

/** A number where that is exact. */
export function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

export function date(milliseconds: bigint): Date {
  const number = Number(milliseconds);
  if (Math.abs(number) > MAX_DATE) {
    throw new ParquetProblem(
      `a date lies ${number} milliseconds from 1970, which no Date can hold; read other "columns".`,
    );
  }
  return new Date(number);
}

function uuid(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function float16(bytes: Uint8Array): number {
  const bits = bytes[0]! | (bytes[1]! << 8);
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Big-endian two's complement, or an integer, times 10^-scale. */
export function decimal({ precision, scale }: { readonly precision: number; readonly scale: number }) {
  const limit = 10n ** BigInt(precision);
  return (stored: number | bigint | Uint8Array): number | string => {
    const value = stored instanceof Uint8Array ? BigInt.asIntN(8 * stored.length, bigEndian(stored)) : BigInt(stored);
    if (value >= limit || -value >= limit) throw damaged(`a decimal has more than ${precision} digits`);
    // Arrow has scales below 0, too.
    const written = decimalText(scale < 0 ? value * 10n ** BigInt(-scale) : value, Math.max(0, scale));
    return precision <= NUMBER_DIGITS ? Number(written) : written;
  };
}

function bigEndian(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}

function decimalText(value: bigint, scale: number): string {
  const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, '0');
  const point = digits.length - scale;
  return `${value < 0n ? '-' : ''}${digits.slice(0, point)}${scale > 0 ? `.${digits.slice(point)}` : ''}`;
}

/** `HH:MM:SS` with as many digits of a second as the column has. */
export function time({ perSecond }: { readonly perSecond: number }) {
  return (value: number | bigint): string => {
    const total = BigInt(value);
    if (total < 0n || total >= 86_400n * BigInt(perSecond)) throw damaged('a time lies outside the day');
    return clock(total, perSecond);
  };
}

function clock(total: bigint, perSecond: number): string {
  const seconds = Number(total / BigInt(perSecond));
  const fraction = (total % BigInt(perSecond)).toString().padStart(Math.log10(perSecond), '0');
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  return `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}.${fraction}`;
}

/** A Date where whole milliseconds are exact; else ISO 8601 with all digits, with a Z where the column is in UTC. */
export function timestamp({ perSecond, utc }: { readonly perSecond: number; readonly utc: boolean }) {
  const perMillisecond = BigInt(perSecond / 1000);
  const perDay = 86_400n * BigInt(perSecond);
  return (value: bigint): Date | string => {
    if (value % perMillisecond === 0n) return date(value / perMillisecond);
    const inDay = ((value % perDay) + perDay) % perDay;
    const day = date(((value - inDay) / perDay) * 86_400_000n)
      .toISOString()
      .slice(0, -'00:00:00.000Z'.length);
    return `${day}${clock(inDay, perSecond)}${utc ? 'Z' : ''}`;
  };
}
