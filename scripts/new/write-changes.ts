import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { LayOutError } from './names.js';

/** A file to be written. */
export interface Change {
  /** Absolute path. */
  readonly path: string;
  readonly text: string;
  /** What the file had when the change was made of it; left out: there must be none. */
  readonly before?: string;
}

/** What `layOut` gives. */
export interface LaidOut {
  readonly changes: readonly Change[];
  /** What is to be done next, a line each. */
  readonly next: readonly string[];
}

/**
 * Writes all of the files or none: each beside its place first, then all are moved there. Where one cannot be, those that have been
 * are put back as they were.
 *
 * @throws LayOutError FILE_EXISTS for a file that is there, or is no longer what it was
 */
export function writeChanges(changes: readonly Change[]): void {
  for (const { path, before } of changes) {
    const there = existsSync(path) ? readFileSync(path, 'utf8') : undefined;
    if (there === before) continue;
    const why = before === undefined ? 'exists; choose another name or remove it' : 'has changed meanwhile; try again';
    throw new LayOutError('FILE_EXISTS', `${path} ${why}. Nothing was written.`);
  }
  const mark = `.new-${randomUUID().slice(0, 8)}`;
  const made: string[] = [];
  const written: string[] = [];
  const moved: Change[] = [];
  try {
    for (const { path, text } of changes) {
      const folder = mkdirSync(dirname(path), { recursive: true });
      if (folder !== undefined) made.push(folder);
      written.push(path + mark);
      writeFileSync(path + mark, text, { flag: 'wx' });
    }
    for (const change of changes) {
      renameSync(change.path + mark, change.path);
      moved.push(change);
    }
  } catch (error) {
    for (const { path, before } of moved) {
      if (before === undefined) rmSync(path, { force: true });
      else writeFileSync(path, before);
    }
    for (const path of written) rmSync(path, { force: true });
    for (const folder of made.reverse()) rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}
