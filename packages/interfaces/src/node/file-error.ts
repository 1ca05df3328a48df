import { PosttrainError } from '../errors.js';

/** What can be done about errors of the operating system, by their codes. */
const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: 'The disk is full: make room there, or write to another one.',
  EDQUOT: 'The quota of the disk is used up: make room there, or write to another one.',
  EFBIG: 'The file is larger than the file system allows: write to another one.',
  EROFS: 'The file system is read-only: write to another folder.',
  EACCES: 'Permission is denied: change the permissions of the folder, or write to another one.',
  EPERM: 'The operation is not permitted: change the permissions of the folder, or write to another one.',
  // What Node says where it cannot make a folder on a read-only file system, too.
  ENOENT:
    'A folder on the way to it is gone, is a link to nothing, or cannot be made because the file system is read-only: ' +
    'put it back, or write to another folder.',
  ENOTDIR: 'A part of the path is a file where a folder is needed: remove the file, or choose another path.',
  EEXIST: 'There is a file where a folder is needed: remove it, or choose another path.',
  EISDIR: 'There is a folder where a file is needed: remove it, or choose another path.',
  ENAMETOOLONG: 'The path is too long: choose a shorter one.',
  EMFILE: 'Too many files are open: raise the limit (ulimit -n).',
  ENFILE: 'Too many files are open on this machine: close some programs.',
  EIO: 'The disk failed to write: check it, and write to another one.',
  ELOOP: 'The path has too many symbolic links: choose another path.',
};

/** A file or folder that could not be written. What was there before is as it was. */
export class FileError extends PosttrainError {
  readonly path: string;

  constructor(path: string, cause: NodeJS.ErrnoException) {
    super('FILE', `${path}: cannot be written (${cause.code}). ${REMEDIES[cause.code!]}`, { cause });
    this.path = path;
  }
}

/** `work`, where errors of the operating system that are about writing say which path, and what to do. @throws FileError */
export async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw fileError(path, error);
  }
}

/** The error to be thrown in the place of one that was met while writing to a path. */
export function fileError(path: string, error: unknown): unknown {
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  const isKnown = error instanceof Error && !(error instanceof PosttrainError) && code !== undefined;
  return isKnown && Object.hasOwn(REMEDIES, code) ? new FileError(path, error) : error;
}
