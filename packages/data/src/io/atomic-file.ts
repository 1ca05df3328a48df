import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isPosttrainError } from '@posttrain/interfaces';
import { DataFileError, messageOf } from '../errors.js';

const FLUSH_BYTES = 1 << 20;

export interface WriteSummary {
  readonly rows: number;
  readonly bytes: number;
}

/**
 * Writes a file whole or not at all: the chunks go to a temporary file in the same folder, which is synced to disk
 * and renamed over `path`. When anything fails - the disk, or the source of the chunks - the temporary file is removed
 * and what was at `path` before is still there. Returns the number of bytes written.
 */
export async function writeFileAtomically(
  path: string,
  chunks: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>,
): Promise<number> {
  if (path.endsWith('.gz'))
    throw new DataFileError({ path }, 'compressed files are only read, not written; drop the .gz.');
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`);
  let handle: FileHandle;
  try {
    handle = await open(temporary, 'wx');
  } catch (error) {
    throw new DataFileError({ path }, `cannot be written: ${messageOf(error)}`, { cause: error });
  }
  try {
    const bytes = await writeChunks(handle, chunks);
    await handle.sync();
    await handle.close();
    await rename(temporary, path);
    await syncFolder(dirname(path));
    return bytes;
  } catch (error) {
    await handle.close().catch(() => {});
    await unlink(temporary).catch(() => {});
    if (isPosttrainError(error) || !isSystemError(error)) throw error;
    throw new DataFileError({ path }, `was not written, nothing was left behind: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function writeChunks(
  handle: FileHandle,
  chunks: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>,
): Promise<number> {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  let bytes = 0;
  const flush = async () => {
    await handle.writeFile(Buffer.concat(pending));
    bytes += pendingBytes;
    pending = [];
    pendingBytes = 0;
  };
  for await (const chunk of chunks) {
    const encoded = typeof chunk === 'string' ? Buffer.from(chunk, 'utf8') : chunk;
    pending.push(encoded);
    pendingBytes += encoded.byteLength;
    if (pendingBytes >= FLUSH_BYTES) await flush();
  }
  await flush();
  return bytes;
}

/** Makes the rename itself durable. Windows cannot open folders, and there the rename alone must do. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}
