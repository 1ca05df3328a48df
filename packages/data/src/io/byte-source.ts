import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { DataFileError, messageOf } from '../errors.js';

/** The bytes of a file in chunks, decompressed when its name ends in `.gz`. The file is closed when reading stops. */
async function* readBytes(path: string): AsyncGenerator<Uint8Array> {
  const file = createReadStream(path);
  const stream = path.endsWith('.gz') ? pipeline(file, createGunzip(), () => {}) : file;
  try {
    for await (const chunk of stream) yield chunk as Uint8Array;
  } catch (error) {
    throw new DataFileError({ path }, `cannot be read: ${messageOf(error)}`, { cause: error });
  } finally {
    file.destroy();
    stream.destroy();
  }
}

/** The text of a UTF-8 file in chunks, without a byte order mark. Bytes that are not UTF-8 are an error. */
export async function* readText(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const decode = (bytes?: Uint8Array): string => {
    try {
      return bytes === undefined ? decoder.decode() : decoder.decode(bytes, { stream: true });
    } catch (error) {
      throw new DataFileError({ path }, 'is not UTF-8 text; convert it to UTF-8.', { cause: error });
    }
  };
  for await (const bytes of readBytes(path)) yield decode(bytes);
  yield decode();
}

export interface Line {
  /** The line without its line feed (and without a byte order mark on the first line). */
  readonly bytes: Uint8Array;
  /** Counts from 1. */
  readonly number: number;
}

/** The lines of a file, split at line feeds. A last line without line feed counts; an empty one after it does not. */
export async function* readLines(path: string): AsyncGenerator<Line> {
  let number = 0;
  // A huge line arrives in many chunks: they are joined once, at its end, not chunk by chunk.
  let pieces: Uint8Array[] = [];
  const finish = (last: Uint8Array): Line => {
    number++;
    let bytes = pieces.length === 0 ? last : Buffer.concat([...pieces, last]);
    pieces = [];
    if (number === 1 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) bytes = bytes.subarray(3);
    return { bytes, number };
  };
  for await (const chunk of readBytes(path)) {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      yield finish(chunk.subarray(start, end));
      start = end + 1;
    }
    if (start < chunk.length) pieces.push(chunk.subarray(start));
  }
  if (pieces.length > 0) yield finish(new Uint8Array(0));
}
