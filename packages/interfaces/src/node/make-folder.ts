import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { writing } from './file-error.js';

/**
 * Makes a folder and those it lies in. Node's own `mkdir` with `recursive` never ends where the file system says that a
 * folder is not there and cannot be made in one that is (/proc does).
 *
 * @returns those that were not there, the outer ones first
 * @throws FileError
 */
export const makeFolder = (folder: string): Promise<readonly string[]> => writing(folder, () => make(resolve(folder)));

async function make(path: string): Promise<readonly string[]> {
  const parent = dirname(path);
  const made = (await isFolder(parent)) ? [] : await make(parent);
  try {
    await mkdir(path);
    return [...made, path];
  } catch (error) {
    // It was there, or another process was faster.
    if ((error as NodeJS.ErrnoException).code === 'EEXIST' && (await isFolder(path))) return made;
    throw error;
  }
}

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
