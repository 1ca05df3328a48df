import { createReadStream } from 'node:fs';
import { integer } from '@posttrain/interfaces';
import { assertPath, DataFileError, messageOf } from '../errors.js';
import { decompressed } from './compression.js';

const MAX_TEXT = 500 * 2 ** 20;

/** The option of every reader that holds one row at a time. */
export const maxRowBytesShape = {
  /**
   * The longest row that is read, in bytes (in a CSV file, characters): one is held in memory, and a missing line end or quote
   * would make the rest of the file one row. Default 64 MiB; at most 500 MiB, which is the longest text that JavaScript has.
   */
  maxRowBytes: integer({ default: 64 * 2 ** 20, min: 1, max: MAX_TEXT, decisive: false }),
};

/** What is said of a row that is too long. */
export function tooLong(maxRowBytes: number): string {
  return `the row is longer than "maxRowBytes", ${maxRowBytes}. Raise it if the row is meant to be so long; else a line end or a quote is missing.`;
}

/**
 * The bytes of a file in chunks, decompressed when its name ends in `.gz` or `.zst`. The file is closed when reading stops.
 *
 * @param start where in the file; of a file that is not compressed
 */
export async function* readBytes(path: string, start = 0): AsyncGenerator<Uint8Array> {
  assertPath(path);
  const file = createReadStream(path, { start });
  try {
    yield* decompressed(path, file);
  } catch (error) {
    throw new DataFileError({ path }, `cannot be read: ${messageOf(error)}`, { cause: error });
  } finally {
    file.destroy();
  }
}

/**
 * The text of a UTF-8 file in chunks, without a byte order mark. Bytes that are not UTF-8 are an error; `line` says where the
 * reader is.
 */
export async function* readText(path: string, line: () => number): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const decode = (bytes?: Uint8Array): string => {
    try {
      return bytes === undefined ? decoder.decode() : decoder.decode(bytes, { stream: true });
    } catch (error) {
      const problem = 'this line, or one of the next, is not UTF-8 text; convert the file to UTF-8.';
      throw new DataFileError({ path, line: line() }, problem, { cause: error });
    }
  };
  for await (const bytes of readBytes(path)) yield decode(bytes);
  yield decode();
}

export interface Line {
  /** The line without its end (and without a byte order mark on the first line); `undefined` when it is too long. */
  readonly bytes: Uint8Array | undefined;
  /** Counts from 1. */
  readonly number: number;
  /** Where in the (decompressed) file the next line begins. */
  readonly end: number;
}

/** Where in a file reading begins: a byte where a line begins, and the number of that line. */
export interface LinePlace {
  readonly byte: number;
  readonly line: number;
}

/** The beginning of a file. */
export const FIRST_LINE: LinePlace = { byte: 0, line: 1 };

/** The bytes of one row, which arrive in pieces: joined once, at its end. Of a row of more than `max` bytes nothing is kept. */
export class RowBytes {
  #pieces: Uint8Array[] = [];
  #held = 0;
  readonly #max: number;
  constructor(max: number) {
    this.#max = max;
  }

  get empty(): boolean {
    return this.#held === 0;
  }

  /** Whether the row is too long since this piece; that is said once. */
  hold(piece: Uint8Array): boolean {
    const before = this.#held;
    this.#held += piece.length;
    if (this.#held <= this.#max) this.#pieces.push(piece);
    else this.#pieces = [];
    return before <= this.#max && this.#held > this.#max;
  }

  /** The row; `undefined` when it is too long, and `'reported'` when `hold` said so before. */
  end(last: Uint8Array): Uint8Array | undefined | 'reported' {
    const now = this.hold(last);
    const bytes = this.#pieces.length === 1 ? last : Buffer.concat(this.#pieces);
    const tooLong = this.#held > this.#max;
    this.#pieces = [];
    this.#held = 0;
    if (!tooLong) return bytes;
    return now ? undefined : 'reported';
  }
}

const LF = 10;
const CR = 13;

/**
 * The lines of a file, ended by LF, CRLF or CR. A last line without an end counts; an empty one after it does not. Of a line
 * of more than `maxBytes` nothing is kept.
 */
export async function* readLines(path: string, maxBytes: number, from = FIRST_LINE): AsyncGenerator<Line> {
  let number = from.line;
  /** Bytes of the chunks before. */
  let before = from.byte;
  const row = new RowBytes(maxBytes);
  const finish = (last: Uint8Array, end: number): Line | undefined => {
    let bytes = row.end(last);
    if (bytes === 'reported') {
      number++;
      return undefined;
    }
    if (number === 1 && bytes?.[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) bytes = bytes.subarray(3);
    return { bytes, number: number++, end };
  };
  let afterCr = false;
  for await (const chunk of readBytes(path, from.byte)) {
    let start = afterCr && chunk[0] === LF ? 1 : 0;
    afterCr = false;
    const next = (byte: number, from: number): number => {
      const found = chunk.indexOf(byte, from);
      return found === -1 ? chunk.length : found;
    };
    let lf = next(LF, start);
    let cr = next(CR, start);
    while (Math.min(lf, cr) < chunk.length) {
      const end = Math.min(lf, cr);
      const ended = chunk.subarray(start, end);
      start = end + 1;
      if (end === cr && chunk[start] === LF) start++;
      const line = finish(ended, before + start);
      if (line !== undefined) yield line;
      if (end === chunk.length - 1) afterCr = end === cr;
      if (lf < start) lf = next(LF, start);
      if (cr < start) cr = next(CR, start);
    }
    if (start < chunk.length && row.hold(chunk.subarray(start))) {
      yield { bytes: undefined, number, end: before + chunk.length };
    }
    before += chunk.length;
  }
  const last = row.empty ? undefined : finish(new Uint8Array(0), before);
  if (last !== undefined) yield last;
}
