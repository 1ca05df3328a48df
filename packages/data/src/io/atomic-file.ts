import { access, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FileError, writeAtomically } from '@posttrain/interfaces/node';
import { assertPath, DataFileError, messageOf } from '../errors.js';
import { compressed } from './compression.js';

const FLUSH_BYTES = 1 << 20;

/** What was written. */
export interface WriteSummary {
  readonly rows: number;
  readonly bytes: number;
}

/**
 * Writes a file whole or not at all. When anything fails - the disk, or the source of the chunks - what was at `path` before
 * is still there, and nothing else is. A name that ends in `.gz` or `.zst` has it compressed. Returns the number of bytes of the file.
 *
 * @throws DataFileError where the file cannot be written
 */
export async function writeFileAtomically(
  given: string,
  chunks: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>,
): Promise<number> {
  assertPath(given);
  // Through a link its target is written.
  const path = await realpath(given).catch(() => given);
  let bytes = 0;
  await access(dirname(path)).catch((cause: unknown) => {
    throw new DataFileError({ path }, `cannot be written: ${messageOf(cause)}`, { cause });
  });
  try {
    await writeAtomically((files) =>
      files.stage(path, async (write) => {
        for await (const block of compressed(path, blocksOf(chunks))) {
          await write(block);
          bytes += block.byteLength;
        }
      }),
    );
    return bytes;
  } catch (error) {
    if (!(error instanceof FileError) && !isSystemError(error)) throw error;
    throw new DataFileError({ path }, `was not written, nothing was left behind: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Chunks as larger blocks of bytes. */
async function* blocksOf(
  chunks: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let pending: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    const encoded = typeof chunk === 'string' ? Buffer.from(chunk, 'utf8') : chunk;
    pending.push(encoded);
    size += encoded.byteLength;
    if (size < FLUSH_BYTES) continue;
    yield Buffer.concat(pending);
    [pending, size] = [[], 0];
  }
  if (size > 0) yield Buffer.concat(pending);
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}
