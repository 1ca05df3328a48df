import { brotliDecompressSync, unzipSync } from 'node:zlib';
import type { Codec } from './metadata.js';
import { damaged, ParquetProblem } from './problem.js';
import { zstd } from './zstd.js';

/** The most that a byte of these codecs can become, by their formats. zstd and Brotli have no such bound. */
const MAX_RATIO: Partial<Record<Codec, number>> = { SNAPPY: 64, LZ4: 255, LZ4_RAW: 255, GZIP: 1032 };

/**
 * The `size` bytes that a page's bytes stand for. `size` is checked before that much memory is taken, and each codec writes no
 * byte more.
 */
export function decompress(bytes: Uint8Array, codec: Codec, size: number): Uint8Array {
  const ratio = MAX_RATIO[codec];
  if (ratio !== undefined && size > (bytes.length + 16) * ratio) {
    throw damaged(`a page of ${bytes.length} bytes cannot become ${size} bytes by ${codec}`);
  }
  const output = inflate(bytes, codec, size);
  if (output.length !== size) throw damaged(`a page has ${output.length} bytes, its header says ${size}`);
  return output;
}

function inflate(bytes: Uint8Array, codec: Codec, size: number): Uint8Array {
  switch (codec) {
    case 'UNCOMPRESSED':
      return bytes;
    case 'SNAPPY':
      return snappy(bytes, size);
    case 'GZIP':
      return native(() => unzipSync(bytes, { maxOutputLength: Math.max(1, size) }), codec);
    case 'BROTLI':
      return native(() => brotliDecompressSync(bytes, { maxOutputLength: Math.max(1, size) }), codec);
    case 'ZSTD':
      return native(() => zstd(bytes, size), codec);
    case 'LZ4_RAW':
      return lz4(bytes, size);
    case 'LZ4':
      return hadoopLz4(bytes, size);
    case 'LZO':
      throw new ParquetProblem('the compression LZO is not supported; write the file again with zstd or Snappy.');
  }
}

function native(run: () => Uint8Array, codec: Codec): Uint8Array {
  try {
    // A Buffer's own `slice` does not copy.
    const { buffer, byteOffset, byteLength } = run();
    return new Uint8Array(buffer, byteOffset, byteLength);
  } catch (error) {
    if (error instanceof ParquetProblem) throw error;
    throw damaged(
      `a page cannot be decompressed (${codec}: ${error instanceof Error ? error.message : String(error)})`,
    );
  }
}

/** Snappy's block format: the length, then literals and copies of what came before. */
function snappy(input: Uint8Array, size: number): Uint8Array {
  const broken = () => damaged('a page is no Snappy data');
  const output = new Uint8Array(size);
  let from = 0;
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = input[from++];
    if (byte === undefined || shift > 28) throw broken();
    length += (byte & 127) * 2 ** shift;
    if (byte < 128) break;
  }
  if (length !== size) throw broken();
  let to = 0;
  while (from < input.length) {
    const tag = input[from++]!;
    const kind = tag & 3;
    let run = (tag >> 2) + 1;
    if (kind === 0) {
      if (run > 60) {
        const bytes = run - 60;
        run = little(input, from, bytes) + 1;
        from += bytes;
      }
      if (from + run > input.length || to + run > size) throw broken();
      put(output, to, input, from, run);
      from += run;
    } else {
      let offset: number;
      if (kind === 1) {
        run = ((tag >> 2) & 7) + 4;
        offset = ((tag >> 5) << 8) | (input[from++] ?? 0);
      } else {
        const bytes = kind === 2 ? 2 : 4;
        offset = little(input, from, bytes);
        from += bytes;
      }
      if (from > input.length || !copy(output, to, offset, run)) throw broken();
    }
    to += run;
  }
  if (to !== size) throw broken();
  return output;
}

/** An LZ4 block: sequences of literals and a copy; the last has literals only. */
export function lz4(input: Uint8Array, size: number): Uint8Array {
  const broken = () => damaged('a page is no LZ4 block');
  const output = new Uint8Array(size);
  let from = 0;
  let to = 0;
  const length = (nibble: number): number => {
    let total = nibble;
    if (nibble === 15) {
      for (let byte = 255; byte === 255; total += byte) {
        if (from >= input.length) throw broken();
        byte = input[from++]!;
      }
    }
    return total;
  };
  while (from < input.length) {
    const token = input[from++]!;
    const literals = length(token >> 4);
    if (from + literals > input.length || to + literals > size) throw broken();
    put(output, to, input, from, literals);
    from += literals;
    to += literals;
    if (from === input.length) break;
    const offset = little(input, from, 2);
    from += 2;
    const run = length(token & 15) + 4;
    if (!copy(output, to, offset, run)) throw broken();
    to += run;
  }
  if (to !== size) throw broken();
  return output;
}

/** The deprecated codec LZ4: Hadoop's frames (sizes before each block), or, by some writers, one block without them. */
function hadoopLz4(input: Uint8Array, size: number): Uint8Array {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const frames: { readonly start: number; readonly end: number; readonly size: number }[] = [];
  let [at, total] = [0, 0];
  while (at + 8 <= input.length) {
    const frame = { start: at + 8, end: at + 8 + view.getUint32(at + 4), size: view.getUint32(at) };
    if (frame.end > input.length) break;
    frames.push(frame);
    total += frame.size;
    at = frame.end;
  }
  if (at !== input.length || total !== size) return lz4(input, size);
  const output = new Uint8Array(size);
  let to = 0;
  for (const frame of frames) {
    output.set(lz4(input.subarray(frame.start, frame.end), frame.size), to);
    to += frame.size;
  }
  return output;
}

/** Copies `run` bytes from `offset` bytes before `to`; false where that is outside. The two may overlap. */
function copy(output: Uint8Array, to: number, offset: number, run: number): boolean {
  if (offset === 0 || offset > to || to + run > output.length) return false;
  if (run > SHORT && offset >= run) output.copyWithin(to, to - offset, to - offset + run);
  else for (let i = 0; i < run; i++) output[to + i] = output[to - offset + i]!;
  return true;
}

/** Below so many bytes a loop is faster than a call. */
const SHORT = 64;

function put(output: Uint8Array, to: number, input: Uint8Array, from: number, run: number): void {
  if (run > SHORT) output.set(input.subarray(from, from + run), to);
  else for (let i = 0; i < run; i++) output[to + i] = input[from + i]!;
}

function little(bytes: Uint8Array, from: number, length: number): number {
  let value = 0;
  for (let i = 0; i < length; i++) value += (bytes[from + i] ?? 0) * 2 ** (8 * i);
  return value;
}
