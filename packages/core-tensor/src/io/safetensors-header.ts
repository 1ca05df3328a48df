import { InvalidHeaderError, InvalidOffsetsError, TruncatedFileError, UnsupportedDTypeError } from './errors.js';

/** Bits per element of every dtype name the safetensors format defines. */
const DTYPE_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

/** A dtype as a safetensors header spells it. */
export type SafetensorsDType = keyof typeof DTYPE_BITS;

/** The largest header the reference implementation accepts, in bytes. */
export const MAX_HEADER_BYTES = 100_000_000;

/** What a header says of one tensor. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** Bytes from the end of the header. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** The header of a safetensors file. */
export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of their bytes. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
}

/**
 * Parses and checks the JSON header of a safetensors file: every tensor's byte range must fit its shape and dtype, and
 * the ranges together must cover the data exactly, without overlap or hole (the format's own rule: it keeps a file
 * from hiding data or aliasing tensors).
 *
 * @param bytes the header's JSON, without the 8 length bytes
 * @param dataBytes how many bytes follow the header
 * @param path named in errors
 * @throws InvalidHeaderError, InvalidOffsetsError, UnsupportedDTypeError, TruncatedFileError
 */
export function parseSafetensorsHeader(bytes: Uint8Array, dataBytes: number, path: string): SafetensorsHeader {
  const json = decodeJson(bytes, path);
  const metadata = readMetadata(json.__metadata__, path);
  const infos: TensorInfo[] = [];
  for (const [name, entry] of Object.entries(json)) {
    if (name !== '__metadata__') infos.push(readEntry(name, entry, path));
  }
  infos.sort((a, b) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength);
  checkCoverage(infos, dataBytes, bytes.length, path);
  return { metadata, tensors: new Map(infos.map((info) => [info.name, info])) };
}

/** How many bytes `shape` takes in `dtype`; undefined when that is no whole or no safe number. */
export function byteLengthOf(shape: readonly number[], dtype: SafetensorsDType): number | undefined {
  if (shape.includes(0)) return 0;
  let elements = 1;
  for (const size of shape) {
    elements *= size;
    if (!Number.isSafeInteger(elements)) return undefined;
  }
  const bytes = (elements * DTYPE_BITS[dtype]) / 8;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

function decodeJson(bytes: Uint8Array, path: string): Record<string, unknown> {
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    json = JSON.parse(text);
  } catch (cause) {
    throw new InvalidHeaderError(path, 'the header is not JSON in UTF-8; this is not a safetensors file.', { cause });
  }
  if (!text.startsWith('{') || !isRecord(json)) {
    throw new InvalidHeaderError(path, 'the header is not a JSON object; this is not a safetensors file.');
  }
  const duplicate = duplicateKey(text);
  if (duplicate !== undefined) throw new InvalidHeaderError(path, `the header names "${shown(duplicate)}" twice.`);
  return json;
}

function readMetadata(value: unknown, path: string): Record<string, string> {
  if (value === undefined) return {};
  if (!isRecord(value) || !Object.values(value).every((item) => typeof item === 'string')) {
    throw new InvalidHeaderError(path, '"__metadata__" must be an object whose values are strings.');
  }
  return value as Record<string, string>;
}

function readEntry(name: string, entry: unknown, path: string): TensorInfo {
  if (!isRecord(entry)) throw new InvalidHeaderError(path, `the entry of tensor "${shown(name)}" is not an object.`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string') throw new InvalidHeaderError(path, `tensor "${shown(name)}" has no dtype.`);
  if (!Object.hasOwn(DTYPE_BITS, dtype)) {
    throw new UnsupportedDTypeError(
      path,
      shown(name),
      shown(JSON.stringify(dtype)),
      `The format knows ${Object.keys(DTYPE_BITS).join(', ')}.`,
    );
  }
  if (!isSizes(shape))
    throw new InvalidHeaderError(path, `the shape of tensor "${shown(name)}" is not a list of sizes.`);
  if (!isSizes(offsets) || offsets.length !== 2) {
    throw new InvalidHeaderError(path, `data_offsets of tensor "${shown(name)}" is not a pair of byte positions.`);
  }
  const [begin, end] = offsets as [number, number];
  const needed = byteLengthOf(shape, dtype as SafetensorsDType);
  if (needed !== end - begin) {
    throw new InvalidOffsetsError(
      path,
      `tensor "${shown(name)}" of shape [${shown(shape.join(', '))}] and dtype ${dtype} needs ` +
        `${needed ?? 'an impossible number of'} bytes, but its data_offsets [${begin}, ${end}] span ${end - begin}.`,
    );
  }
  return { name, dtype: dtype as SafetensorsDType, shape, byteOffset: begin, byteLength: end - begin };
}

function checkCoverage(sorted: readonly TensorInfo[], dataBytes: number, headerBytes: number, path: string): void {
  let covered = 0;
  let previous = 'the header';
  for (const { name, byteOffset, byteLength } of sorted) {
    if (byteOffset < covered) {
      throw new InvalidOffsetsError(
        path,
        `the bytes of tensor "${shown(name)}" overlap those of "${shown(previous)}".`,
      );
    }
    if (byteOffset > covered) {
      throw new InvalidOffsetsError(
        path,
        `bytes ${covered} to ${byteOffset} of the data belong to no tensor (between "${shown(previous)}" and "${shown(name)}").`,
      );
    }
    covered += byteLength;
    previous = name;
  }
  if (covered > dataBytes) throw new TruncatedFileError(path, 8 + headerBytes + covered, 8 + headerBytes + dataBytes);
  if (covered < dataBytes) {
    throw new InvalidOffsetsError(path, `${dataBytes - covered} bytes after the last tensor belong to no tensor.`);
  }
}

/**
 * The first key that occurs twice at the top level of valid JSON `text`; `JSON.parse` would keep the last silently. By
 * hand, since a regular expression runs out of stack on a text of some ten megabytes.
 */
function duplicateKey(text: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') depth--;
    else if (character === '"') {
      const start = at;
      at = closingQuote(text, start);
      if (depth !== 1 || !isColonNext(text, at + 1)) continue;
      const key = JSON.parse(text.slice(start, at + 1)) as string;
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

function closingQuote(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at;
}

function isColonNext(text: string, from: number): boolean {
  let at = from;
  while (at < text.length && ' \t\n\r'.includes(text[at]!)) at++;
  return text[at] === ':';
}

/** A name as errors show it: a hostile one may have megabytes. */
const shown = (name: string): string => (name.length > 200 ? `${name.slice(0, 200)}…` : name);

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}
