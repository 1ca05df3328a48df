import type { FileHandle } from 'node:fs/promises';
import { mkdir, open, readdir, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { writing } from './file-error.js';
import { makeFolder } from './make-folder.js';
import { commitTogether, completeSave } from './save-journal.js';
import { removeAbandoned, temporaryName } from './temporary.js';

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
 * Writes several files so that either all appear complete or none does: each goes to a temporary file in its own folder
 * and is fsynced; `commit` renames them, and removes what `remove` was told. A process that is killed in the middle of
 * `commit` leaves a journal in the folder, which `completeSave` (called by what reads such folders, and by the next save)
 * carries out. `rollback` removes what was staged, and the folders that were made for it. Files of several folders
 * are complete each, but together only folder by folder.
 */
export class AtomicFiles {
  #staged: { temporary: string; final: string }[] = [];
  #folders: string[] = [];
  #made: string[] = [];
  readonly #stale: string[] = [];
  readonly #prepared = new Set<string>();
  readonly #write: WriteToHandle;

  constructor(write: WriteToHandle = writeToHandle) {
    this.#write = write;
  }

  /** Gives the path of the staged file, complete and not yet in its place. @throws FileError */
  async stage(path: string, produce: (write: WriteBytes) => Promise<void>): Promise<string> {
    const folder = dirname(path);
    await this.#prepare(folder);
    const temporary = temporaryName(folder, basename(path));
    this.#staged.push({ temporary, final: path });
    const handle = await writing(path, () => open(temporary, 'wx'));
    try {
      // A file that is written again stays as private as it was.
      const mode = await permissionsOf(path);
      if (mode !== undefined) await writing(path, () => handle.chmod(mode));
      await produce((bytes) => writing(path, () => this.#write(handle, bytes)));
      await writing(path, () => handle.sync());
    } finally {
      await handle.close();
    }
    return temporary;
  }

  /** A new folder inside `folder` to write into; `commit` moves everything in it into `folder`. @throws FileError */
  async stageFolder(folder: string): Promise<string> {
    await this.#prepare(folder);
    const temporary = temporaryName(folder, 'files');
    await writing(folder, () => mkdir(temporary));
    this.#folders.push(temporary);
    return temporary;
  }

  /** To be removed in `commit`, unless it is written there. */
  remove(path: string): void {
    this.#stale.push(path);
  }

  /** @throws FileError */
  async commit(): Promise<void> {
    const moves = this.#staged.map(({ temporary, final }) => ({ from: temporary, to: final }));
    for (const folder of this.#folders) {
      const names = await readdir(folder);
      moves.push(...names.map((name) => ({ from: join(folder, name), to: join(dirname(folder), name) })));
    }
    const folders = [...this.#folders];
    await commitTogether(moves, this.#stale, (decided) => {
      const gone = new Set(decided.map(({ from }) => from));
      this.#staged = this.#staged.filter(({ temporary }) => !gone.has(temporary));
      this.#folders = this.#folders.filter((folder) => !decided.some(({ from }) => dirname(from) === folder));
    });
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
  }

  async rollback(): Promise<void> {
    for (const { temporary } of this.#staged.splice(0)) await rm(temporary, { force: true });
    for (const folder of this.#folders.splice(0)) await rm(folder, { recursive: true, force: true });
    // One that others have written into stays.
    for (const folder of this.#made.splice(0).reverse()) await rmdir(folder).catch(() => undefined);
  }

  async #prepare(folder: string): Promise<void> {
    if (this.#prepared.has(folder)) return;
    this.#made.push(...(await makeFolder(folder)));
    await completeSave(folder);
    await removeAbandoned(folder);
    this.#prepared.add(folder);
  }
}

/** Of a file that is there. */
const permissionsOf = (path: string): Promise<number | undefined> =>
  stat(path).then(
    ({ mode }) => mode & 0o777,
    () => undefined,
  );

/** Runs `stageAll` and commits; on any error removes every staged file and rethrows. @throws FileError */
export async function writeAtomically(
  stageAll: (files: AtomicFiles) => Promise<unknown>,
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
