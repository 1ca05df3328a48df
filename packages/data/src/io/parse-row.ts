import { randomUUID } from 'node:crypto';
import { isPlainObject, kindOf, MAX_DEPTH, type Row } from '../rows.js';

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The JSON object that the bytes are. Throws an `Error` that says what is wrong; `undefined` where there is only white space. */
export function parseRow(bytes: Uint8Array): Row | undefined {
  assertShallow(bytes);
  const text = decode(bytes);
  if (/^\s*$/.test(text)) return undefined;
  const row = parseExactly(text);
  if (!isPlainObject(row)) throw new Error(`a row must be a JSON object, got ${kindOf(row)}`);
  return row;
}

/** A string begins, or a number. */
const TOKEN = /"|-?\d[\d.eE+-]*/g;

/** `JSON.parse`, but integers that a number would print with other digits are bigints. */
export function parseExactly(text: string): unknown {
  const parsed: unknown = JSON.parse(text);
  if (!/\d{16}/.test(text)) return parsed;
  const mark = randomUUID();
  const pieces: string[] = [];
  let done = 0;
  TOKEN.lastIndex = 0;
  for (let found = TOKEN.exec(text); found !== null; found = TOKEN.exec(text)) {
    const [token] = found;
    // Strings are passed over here: a pattern of one would need stack for each of its escapes.
    if (token === '"') TOKEN.lastIndex = endOfText(text, found.index + 1) + 1;
    else if (/^-?\d{16,}$/.test(token) && String(Number(token)) !== token) {
      pieces.push(text.slice(done, found.index), `"${mark}${token}"`);
      done = TOKEN.lastIndex;
    }
  }
  if (pieces.length === 0) return parsed;
  pieces.push(text.slice(done));
  return JSON.parse(pieces.join(''), (_, value: unknown) =>
    typeof value === 'string' && value.startsWith(mark) ? BigInt(value.slice(mark.length)) : value,
  );
}

/** Place of the quote that ends a string of valid JSON. */
function endOfText(text: string, from: number): number {
  for (let end = text.indexOf('"', from); ; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text[end - 1 - slashes] === '\\') slashes++;
    if (slashes % 2 === 0) return end;
  }
}

/** `JSON.stringify` that writes bigints as the integers they are, and -0 as -0. */
export function stringifyExactly(value: unknown): string {
  const mark = randomUUID();
  const text = JSON.stringify(value, (_, one: unknown) => {
    if (Object.is(one, -0)) return `${mark}-0`;
    return typeof one === 'bigint' ? `${mark}${one}` : one;
  });
  return text.replaceAll(new RegExp(`"${mark}(-?\\d+)"`, 'g'), '$1');
}

function decode(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new Error('the text is not UTF-8');
  }
}

/** JSON.parse takes any depth, but hardly anything that works on its result does. */
function assertShallow(bytes: Uint8Array): void {
  if (bytes.length <= 2 * MAX_DEPTH) return;
  let depth = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === QUOTE) i = endOfString(bytes, i + 1);
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--;
    if (depth > MAX_DEPTH) throw new Error(`it is nested more than ${MAX_DEPTH} deep`);
  }
}

/** Place of the quote that ends a string, or the end of the bytes. */
function endOfString(bytes: Uint8Array, from: number): number {
  for (;;) {
    const end = bytes.indexOf(QUOTE, from);
    if (end === -1) return bytes.length;
    let slashes = 0;
    while (bytes[end - 1 - slashes] === BACKSLASH && end - 1 - slashes >= from) slashes++;
    if (slashes % 2 === 0) return end;
    from = end + 1;
  }
}

export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
export const OPEN_BRACE = 0x7b;
export const CLOSE_BRACE = 0x7d;
export const OPEN_BRACKET = 0x5b;
export const CLOSE_BRACKET = 0x5d;
