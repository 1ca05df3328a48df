import { randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Appends bytes to a file that is being staged. */
export type WriteBytes = (bytes: Uint8Array) => Promise<void>;

/** The one call that a test replaces to imitate a full disk. */
export type WriteToHandle = (handle: FileHandle, bytes: Uint8Array) => Promise<void>;

const writeToHandle: WriteToHandle = async (handle, bytes) => {
  let written = 0;
  while (written < bytes.length) {
    const chunk = Math.min(bytes.length - written, 1 << 30);
    const result = await handle.write(bytes, written, chunk, null);
    written += result.bytesWritten;
  }
};

/**
 * Writes several files so that either all appear complete or none does: each goes to a temporary file in its own
 * folder, is fsynced, and is renamed only in `commit`, in the order staged. `rollback` removes what was staged.
 */
export class AtomicFiles {
  readonly #staged: { temporary: string; final: string }[] = [];
  readonly #write: WriteToHandle;

  constructor(write: WriteToHandle = writeToHandle) {
    this.#write = write;
  }

  async stage(path: string, produce: (write: WriteBytes) => Promise<void>): Promise<void> {
    const folder = dirname(path);
    await mkdir(folder, { recursive: true });
    const temporary = join(folder, `.${basename(path)}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`);
    this.#staged.push({ temporary, final: path });
    const handle = await open(temporary, 'wx');
    try {
      await produce((bytes) => this.#write(handle, bytes));
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  async commit(): Promise<void> {
    for (const { temporary, final } of this.#staged) await rename(temporary, final);
    for (const folder of new Set(this.#staged.map(({ final }) => dirname(final)))) await syncFolder(folder);
    this.#staged.length = 0;
  }

  async rollback(): Promise<void> {
    for (const { temporary } of this.#staged.splice(0)) await rm(temporary, { force: true });
  }
}

/** Runs `stageAll` and commits; on any error removes every staged file and rethrows. */
export async function writeAtomically(
  stageAll: (files: AtomicFiles) => Promise<void>,
  write?: WriteToHandle,
): Promise<void> {
  const files = new AtomicFiles(write);
  try {
    await stageAll(files);
    await files.commit();
  } catch (error) {
    await files.rollback();
    throw error;
  }
}

/** Makes renames into a folder durable. Windows cannot open a folder, and needs no such call. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
