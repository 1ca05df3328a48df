import { createHash } from 'node:crypto';
import { link, open, readFile, rename, rm, stat, unlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PosttrainError } from '../errors.js';
import { fileError, writing } from './file-error.js';
import { hasEnded, type ProcessIdentity, thisProcess } from './process-identity.js';
import { temporaryName } from './temporary.js';

/** A complete file (or folder), and where it belongs. */
export interface Move {
  readonly from: string;
  readonly to: string;
}

/** Something to be removed, told from what may stand under its name later. */
interface Removal {
  readonly path: string;
  readonly inode: string;
  /** Of a file; of a folder null, as removing its first entry changes it. */
  readonly modified: number | null;
}

interface Journal {
  readonly writer: ProcessIdentity;
  /** Paths relative to the journal's folder. */
  readonly removals: readonly Removal[];
  readonly moves: readonly Move[];
}

/** A name in the folder, and what is staged: a hidden file of it, or a file of a hidden folder. */
const NAME = /^(?!\.{1,2}$)[^/\\]+$/;
const TEMPORARY = /^\.[^/\\]+\.tmp([/\\][^/\\]+)?$/;

const JOURNAL = '.posttrain-save.json';
/** How long another process may take to carry out its journal: renames only. */
const PATIENCE_MS = 10_000;

/**
 * Moves complete files to their places in a folder and removes others, as one: from the moment that the journal is in the
 * folder, the save is committed, whichever process carries it out. A single move needs none.
 *
 * @param onDecided told of the moves that will be made even when an error follows: what they move must stay
 * @throws FileError
 */
export async function commitTogether(
  moves: readonly Move[],
  stale: readonly string[],
  onDecided: (moves: readonly Move[]) => void,
): Promise<void> {
  const folders = new Set(moves.map(({ to }) => dirname(to)));
  for (const folder of folders) {
    const here = (path: string) => dirname(path) === folder;
    await commitInto(
      folder,
      moves.filter(({ to }) => here(to)),
      stale.filter(here),
      onDecided,
    );
  }
}

async function commitInto(
  folder: string,
  moves: readonly Move[],
  stale: readonly string[],
  onDecided: (moves: readonly Move[]) => void,
): Promise<void> {
  const written = new Set(moves.map(({ to }) => to));
  const removals = (await Promise.all(stale.filter((path) => !written.has(path)).map(removalOf))).flat();
  if (moves.length === 1 && removals.length === 0) {
    const [{ from, to }] = moves as [Move];
    await writing(to, () => rename(from, to));
    onDecided(moves);
    return syncFolder(folder);
  }
  const inFolder = (path: string) => relative(folder, path);
  const journal: Journal = {
    writer: thisProcess(),
    removals: removals.map(({ path, ...rest }) => ({ path: inFolder(path), ...rest })),
    moves: moves.map(({ from, to }) => ({ from: inFolder(from), to: inFolder(to) })),
  };
  await writing(folder, () => publish(folder, journal, () => onDecided(moves)));
  await writing(folder, () => carryOut(folder, journal));
}

async function removalOf(path: string): Promise<Removal[]> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return [];
  return [{ path, inode: String(found.ino), modified: found.isDirectory() ? null : found.mtimeMs }];
}

/** Puts the journal into its folder, complete and on disk, where none of another save is. */
async function publish(folder: string, journal: Journal, onDecided: () => void): Promise<void> {
  const path = join(folder, JOURNAL);
  const temporary = temporaryName(folder, 'journal');
  try {
    const handle = await open(temporary, 'wx');
    try {
      const text = JSON.stringify(journal);
      await handle.writeFile(`${digestOf(text)}\n${text}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    for (;;) {
      await completeSave(folder);
      try {
        await link(temporary, path);
        break;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EEXIST') continue;
        // File systems without hard links.
        if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(code ?? '')) throw error;
        await rename(temporary, path);
        break;
      }
    }
    onDecided();
    await syncFolder(folder);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function carryOut(folder: string, { removals, moves }: Journal): Promise<void> {
  for (const removal of removals) {
    const path = join(folder, removal.path);
    const [found] = await removalOf(path);
    // Not what a later save has put there.
    if (found?.inode !== removal.inode || found.modified !== removal.modified) continue;
    await rm(path, { recursive: true, force: true });
  }
  for (const { from, to } of moves) await moveInto(join(folder, from), join(folder, to));
  await syncFolder(folder);
  await unlink(join(folder, JOURNAL)).catch(ignoreMissing);
  await syncFolder(folder);
}

/** What is gone was moved already, when the journal was carried out the first time. */
async function moveInto(from: string, to: string): Promise<void> {
  const found = await stat(from).catch(() => undefined);
  if (!found) return;
  // A folder cannot be renamed over another one with something in it.
  if (found.isDirectory()) await rm(to, { recursive: true, force: true });
  await rename(from, to).catch(ignoreMissing);
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

/**
 * Carries out what a process that was killed in the middle of saving into a folder has left to do; to be called before
 * files of the folder are read together. Waits for a process that is at it now.
 *
 * @throws PosttrainError INTERRUPTED_SAVE where the folder cannot be written to, so that its files are a mixture
 */
export async function completeSave(folder: string): Promise<void> {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const text = await readFile(join(folder, JOURNAL), 'utf8').catch(() => undefined);
    if (text === undefined) return;
    const journal = parse(folder, text);
    if (isOurs(journal) || hasEnded(journal.writer) || Date.now() > until) {
      try {
        return await carryOut(folder, journal);
      } catch (error) {
        throw interrupted(folder, `could not be completed: ${(fileError(folder, error) as Error).message}`, error);
      }
    }
    await sleep(20);
  }
}

function parse(folder: string, text: string): Journal {
  const [digest, json = ''] = text.split('\n');
  if (digest === digestOf(json)) {
    const journal = JSON.parse(json) as Journal;
    const targets = [...journal.removals.map(({ path }) => path), ...journal.moves.map(({ to }) => to)];
    // A folder comes from anywhere: nothing outside it is touched.
    if (targets.every((path) => NAME.test(path)) && journal.moves.every(({ from }) => TEMPORARY.test(from)))
      return journal;
  }
  throw interrupted(folder, `left ${JOURNAL}, which is damaged; save again into an empty folder`);
}

const interrupted = (folder: string, problem: string, cause?: unknown) =>
  new PosttrainError('INTERRUPTED_SAVE', `${folder}: a save into it was interrupted, and ${problem}`, { cause });

const isOurs = ({ writer }: Journal): boolean => {
  const { pid, host } = thisProcess();
  return writer.pid === pid && writer.host === host;
};

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

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
