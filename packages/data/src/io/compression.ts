import type { Readable } from 'node:stream';
import { createGunzip, createGzip } from 'node:zlib';
import { DataFileError } from '../errors.js';
import { throughStream } from './through-stream.js';
import { unzstd, zstdCompressed } from './zstd-stream.js';

/** How a file is compressed. */
export type Compression = 'gzip' | 'zstd';

const BY_ENDING: Readonly<Record<string, Compression>> = { gz: 'gzip', zst: 'zstd' };

/** What the name of a file says: `.gz` gzip (RFC 1952), `.zst` Zstandard (RFC 8878). */
export const compressionOf = (path: string): Compression | undefined =>
  BY_ENDING[/\.(gz|zst)$/i.exec(path)?.[1]?.toLowerCase() ?? ''];

/** Throws for a name that promises a compression around a format that compresses itself, or not at all. */
export function assertNotCompressed(path: unknown, format: string): void {
  if (typeof path !== 'string' || compressionOf(path) === undefined) return;
  throw new DataFileError({ path }, `${format} files are not compressed from outside; drop the ending.`);
}

/** The bytes of a stream, decompressed as the name of its file says. A file cut short, or damaged, is an error. */
export async function* decompressed(path: string, file: Readable): AsyncGenerator<Uint8Array> {
  const compression = compressionOf(path);
  if (compression === 'gzip') {
    const gunzip = createGunzip();
    file.on('error', (error) => gunzip.destroy(error)).pipe(gunzip);
    try {
      for await (const chunk of gunzip) yield chunk as Uint8Array;
    } finally {
      gunzip.destroy();
    }
  } else if (compression === 'zstd') yield* unzstd(file as AsyncIterable<Uint8Array>);
  else yield* file as AsyncIterable<Uint8Array>;
}

/** Blocks as the name of their file says: the same blocks give the same bytes, without a time of day. */
export async function* compressed(path: string, blocks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const compression = compressionOf(path);
  if (compression === 'gzip') yield* throughStream(createGzip(), blocks);
  else if (compression === 'zstd') yield* zstdCompressed(blocks);
  else yield* blocks;
}
