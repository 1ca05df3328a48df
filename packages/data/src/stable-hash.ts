import { createHash } from 'node:crypto';
import { DataOptionError } from './errors.js';
import { isPlainObject, kindOf, MAX_DEPTH } from './rows.js';

/**
 * JSON with the keys of objects sorted by UTF-16 code unit, so that equal values have equal text.
 * Keys whose value is `undefined` are left out. Dates, bigints and bytes are tagged; functions and symbols throw.
 */
export function canonicalJson(value: unknown): string {
  return canonical(value, 0);
}

function canonical(value: unknown, depth: number): string {
  if (depth > MAX_DEPTH) {
    throw new DataOptionError('canonicalJson', `the value is nested more than ${MAX_DEPTH} deep, or contains itself.`);
  }
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item, depth + 1)).join(',')}]`;
  if (isPlainObject(value)) {
    const keys = Object.keys(value)
      .filter((key) => value[key] !== undefined)
      .sort();
    return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key], depth + 1)}`).join(',')}}`;
  }
  if (typeof value === 'bigint') return `{"$bigint":"${value}"}`;
  if (value instanceof Date) return `{"$date":${value.getTime()}}`;
  if (value instanceof Uint8Array) return `{"$bytes":"${Buffer.from(value).toString('base64')}"}`;
  if (typeof value === 'number') return Number.isFinite(value) ? JSON.stringify(value) : `{"$number":"${value}"}`;
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return JSON.stringify(value);
  if (value === undefined) return 'null';
  throw new DataOptionError('canonicalJson', `cannot hash a value of kind ${kindOf(value)}.`);
}

/** A number in [0, 1) that depends only on the text: the first 48 bits of its SHA-256, divided by 2^48. */
export function hashFraction(text: string): number {
  return createHash('sha256').update(text, 'utf8').digest().readUIntBE(0, 6) / 2 ** 48;
}
