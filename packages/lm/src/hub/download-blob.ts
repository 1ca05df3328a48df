import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isPosttrainError } from '@posttrain/interfaces';
import { makeFolder } from '@posttrain/interfaces/node';
import { DownloadError } from './errors.js';

/** One file as the hub announces it. */
export interface RemoteFile {
  readonly path: string;
  readonly size: number;
  /** SHA-256 of the content (`lfs`), or git's SHA-1 of it as a blob. Names the file in the cache. */
  readonly etag: string;
  readonly hash: 'sha256' | 'git-sha1';
}

/** Opens the file's content from `offset` on. */
export type OpenRemote = (offset: number) => Promise<ReadableStream<Uint8Array>>;

const ATTEMPTS = 3;

/**
 * Downloads a file into `target`, which appears only when complete, of the announced size and hash, and on disk. What
 * came before a connection broke is kept in `target.incomplete`, and the next attempt (in this call or a later one)
 * goes on from there.
 *
 * @param onBytes told how many bytes of the file are there, from resumed ones on
 * @throws DownloadError when every attempt breaks, or the content is not what was announced
 */
export async function downloadBlob(
  target: string,
  file: RemoteFile,
  openRemote: OpenRemote,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const incomplete = `${target}.incomplete`;
  await makeFolder(dirname(target));
  let cause: unknown;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      await appendRest(incomplete, file, openRemote, onBytes);
      cause = undefined;
      break;
    } catch (error) {
      if (isFinal(error)) throw error;
      cause = error;
    }
  }
  const { size } = await stat(incomplete);
  if (cause !== undefined && size < file.size) {
    throw new DownloadError(
      `${file.path}: the connection broke ${ATTEMPTS} times, the last time after ${size} of ${file.size} bytes ` +
        `(${reason(cause)}). What came is kept; run again to go on from there.`,
      { cause },
    );
  }
  if (size !== file.size || (await contentHash(incomplete, file)) !== file.etag) {
    await rm(incomplete, { force: true });
    throw new DownloadError(
      `${file.path}: what came (${size} bytes) is not what the hub announced (${file.size} bytes, ${file.hash} ` +
        `${file.etag}). It was discarded; run again.`,
    );
  }
  await rename(incomplete, target);
}

async function appendRest(
  incomplete: string,
  file: RemoteFile,
  openRemote: OpenRemote,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const handle = await open(incomplete, 'a');
  try {
    let { size } = await handle.stat();
    if (size > file.size) {
      await handle.truncate(0);
      size = 0;
    }
    onBytes(size);
    if (size < file.size) {
      for await (const chunk of await openRemote(size)) {
        await handle.writeFile(chunk);
        size += chunk.length;
        if (size > file.size) break;
        onBytes(size);
      }
      if (size < file.size) throw new Error(`the content ended after ${size} bytes`);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function contentHash(path: string, file: RemoteFile): Promise<string> {
  const hash = createHash(file.hash === 'sha256' ? 'sha256' : 'sha1');
  if (file.hash === 'git-sha1') hash.update(`blob ${file.size}\0`);
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}

/** Not retryable: a full disk, a forbidden folder, a refusal. */
function isFinal(error: unknown): boolean {
  if (isPosttrainError(error)) return !(error instanceof DownloadError);
  return ['ENOSPC', 'EACCES', 'EROFS', 'EDQUOT', 'EPERM'].includes((error as NodeJS.ErrnoException)?.code ?? '');
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
